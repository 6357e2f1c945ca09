"""What the README tells people to type."""
import os
import re
import shlex
import shutil

from harness import PROGRAM, REPOSITORY, contains, equal, run, skip, test


def commands():
    """The lines of the README's shell blocks, without their comments."""
    text = (REPOSITORY / "README.md").read_text()
    lines = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        lines += [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]
    return lines


@test
def every_imgbuild_command_of_the_readme_works(w):
    w.folder("here", {"Dockerfile": "FROM scratch AS test\nCOPY a /a\nFROM scratch\nCOPY a /a\n", "a": "x",
                      "other.Dockerfile": "FROM scratch AS test\nCOPY a /a\n"})
    here = w.path / "here"
    w.run("build", "-q", "-o", here / "image.tar", "-t", "base", here)
    done = 0
    for words in commands():
        if words[0] == "imgbuild":
            w.run(*words[1:], cwd=here)
            done += 1
    if done < 8:
        raise AssertionError(f"only {done} commands were found in the README")


@test
def the_two_set_up_commands_are_there_and_can_be_run(w):
    tools = [words[0] for words in commands() if words[0].startswith("tools/")]
    equal(tools, ["tools/quickstart", "tools/run-tests"], "set-up commands")
    for tool in tools:
        if not os.access(REPOSITORY / tool, os.X_OK):
            raise AssertionError(f"{tool} cannot be executed")


if __name__ == "__main__":
    run()
