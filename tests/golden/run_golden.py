"""Golden tests: every folder of testdata/golden is a build context, the words to call the program with, and what it says.

A folder holds `arguments` (one word a line; `{case}` stands for the folder), the files the build reads, and the expected `stdout`, `stderr` and
`exit`. IMGBUILD_ACCEPT=1 rewrites these three; the difference is then reviewed like code. Words on the command line select
folders by name. Paths of this machine become <store> and <case>, so the files are the same everywhere.
"""
import difflib
import os
import pathlib
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CASES = REPOSITORY / "testdata" / "golden"
PROGRAM = pathlib.Path(os.environ.get("IMGBUILD", str(REPOSITORY / "build" / "cli" / "imgbuild"))).resolve()
ACCEPT = os.environ.get("IMGBUILD_ACCEPT") == "1"
LEAST_CASES = 25   # so that a lost folder is noticed


def outcome(case, store):
    """What the program does in this folder: {file name: text}."""
    arguments = [word.replace("{case}", str(case)) for word in (case / "arguments").read_text().splitlines()]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "IMGBUILD_ROOT": store}
    stdin = (case / "stdin").read_bytes() if (case / "stdin").exists() else b""
    done = subprocess.run([PROGRAM, *arguments], cwd=case, env=environment, input=stdin, capture_output=True, check=False, timeout=120)

    def normal(data):
        return data.decode(errors="replace").replace(store, "<store>").replace(str(case), "<case>")

    return {"stdout": normal(done.stdout), "stderr": normal(done.stderr), "exit": f"{done.returncode}\n"}


def differences(case, actual):
    """Lines that show where `actual` is not what the folder says; rewrites the folder when asked to."""
    lines = []
    for name, text in actual.items():
        path = case / name
        expected = path.read_text() if path.exists() else None
        if expected == text:
            continue
        if ACCEPT:
            path.write_text(text)
            continue
        lines += difflib.unified_diff((expected or "").splitlines(), text.splitlines(), f"{name} expected", f"{name} now", lineterm="")
    return lines


def main():
    wanted = sys.argv[1:]
    cases = sorted(path.parent for path in CASES.glob("*/arguments"))
    failed = ran = 0
    for case in cases:
        if wanted and not any(word in case.name for word in wanted):
            continue
        ran += 1
        with tempfile.TemporaryDirectory(prefix="imgbuild-golden-") as store:
            lines = differences(case, outcome(case, store + "/store"))
        failed += 1 if lines else 0
        print(("FAIL " if lines else "ok   ") + case.name)
        print("".join(f"     {line}\n" for line in lines), end="", flush=True)
    if len(cases) < LEAST_CASES:
        failed += 1
        print(f"FAIL only {len(cases)} folders, at least {LEAST_CASES} belong here")
    print(f"{ran - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
