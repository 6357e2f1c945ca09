"""Attack catalogue, RUN: images and commands that reach for the machine they are built on, against a canary outside."""
import os
import pathlib
import pty
import resource
import signal
import subprocess
import time

from attack_support import Canary, Tar, build_on
from harness import PROGRAM, command, contains, equal, need, need_root, run, skip, test
from processes import leftovers, mounts, start

CORE_PATTERN = pathlib.Path("/proc/sys/kernel/core_pattern")

HELPER = r"""
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
int main(int count, char** words) {
  if (count > 1 && strcmp(words[1], "type") == 0) {
    for (int fd = 0; fd < 3; ++fd) printf("fd %d: %d\n", fd, ioctl(fd, TIOCSTI, "x") == 0 ? 0 : errno);
    int tty = open("/dev/tty", O_RDWR);
    printf("tty: %d\n", tty < 0 ? errno : ioctl(tty, TIOCSTI, "x") == 0 ? 0 : errno);
  }
  printf("uid %d euid %d\n", (int)getuid(), (int)geteuid());
  return 0;
}
"""


def helper(w):
    """A static program for images: tells who it runs as; with the word `type` types into every terminal it finds."""
    source = w.path / "helper.c"
    source.write_text(HELPER)
    command(need("cc"), "-static", "-O1", "-o", w.path / "helper", source)
    return (w.path / "helper").read_bytes()


def output_of(result):
    return "".join(event["text"] for event in result.events if event["event"] == "step_output")


@test
def a_null_device_of_the_image_masks_nothing_atk_3(w):
    canary, pattern = Canary(w), CORE_PATTERN.read_text()
    tar = Tar().dir("dev").link("dev/null", str(CORE_PATTERN)).link("dev/zero", str(canary.file))
    result = build_on(w, [tar.end()], "RUN echo planted > /dev/null; stat -c %F:%t:%T /dev/null /dev/zero; wc -c < /proc/keys", ok=True)
    equal(output_of(result).split(), ["character", "special", "file:1:3", "character", "special", "file:1:5", "0"], "devices, masked file")
    equal(CORE_PATTERN.read_text(), pattern, "core_pattern")
    canary.check(result.err)


@test
def links_in_place_of_terminals_are_not_followed_atk_4(w):
    canary, pattern = Canary(w), CORE_PATTERN.read_text()
    tar = (Tar().dir("dev").dir("dev/pts").link("dev/pts/0", str(CORE_PATTERN)).link("dev/console", str(canary.file))
           .link("dev/ptmx", str(canary.file)).link("dev/shm", str(canary.folder)).link("dev/mqueue", str(canary.folder)))
    result = build_on(w, [tar.end()], "RUN echo x > /dev/shm/f; ls /dev /dev/pts; readlink /dev/ptmx", ok=True)
    equal("console" in output_of(result).split(), False, "a console")
    contains(output_of(result), "pts/ptmx")
    equal(CORE_PATTERN.read_text(), pattern, "core_pattern")
    canary.check(result.err)


@test
def a_proc_of_the_image_is_never_written_to_atk_5(w):
    canary = Canary(w)
    for target in (str(canary.folder), "/etc", "proc2"):
        result = build_on(w, [Tar().dir("proc2").link("proc", target).end()], "RUN true", ok=False)
        contains(result.err, "proc")
        canary.check(result.err)
    fake = Tar().dir("proc").dir("proc/self").dir("proc/self/attr").add("proc/self/attr/exec", b"fake").add("proc/cmdline", b"fake")
    result = build_on(w, [fake.end()], "RUN cat /proc/cmdline", ok=True)
    equal("fake" in output_of(result), False, "a fake file of /proc seen by a command")
    for target in ("/proc/self/attr", "/proc/sys", "/proc", "/sys/kernel", "/dev/pts", "/x/../proc/sys"):
        result = build_on(w, [], f"RUN --mount=type=cache,target={target} true", ok=False)
        contains(result.err, "mount")
    canary.check()


@test
def nothing_is_typed_into_the_builders_terminal_atk_11(w):
    context = w.folder("context", {"Dockerfile": 'FROM scratch\nCOPY helper /helper\nRUN ["/helper", "type"]\n', "helper": helper(w)})
    os.chmod(context / "helper", 0o755)
    ours, theirs = pty.openpty()

    def take_terminal():
        os.setsid()
        import fcntl
        import termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen([PROGRAM, "build", "--progress=plain", context], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               preexec_fn=take_terminal, env={**w.environment, "IMGBUILD_ROOT": str(w.store)})
    text = process.communicate(timeout=60)[0].decode()
    equal(process.returncode, 0, f"exit code of {text}")
    for fd in range(3):
        contains(text, f"fd {fd}: {25}")  # ENOTTY
    contains(text, "tty: 6")  # ENXIO: no terminal is this session's
    os.set_blocking(theirs, False)
    try:
        typed = os.read(theirs, 100)
    except BlockingIOError:
        typed = b""
    equal(typed, b"", "what was typed into the terminal")
    os.close(ours)
    os.close(theirs)


@test
def set_user_id_works_in_the_image_and_not_from_a_cache_mount_atk_25(w):
    tar = Tar().add("setuid", helper(w), mode=0o4755)
    body = ("RUN --mount=type=cache,target=/cache,mode=0777 cp /setuid /cache/setuid && chmod 4755 /cache/setuid\nUSER 1000\n"
            "RUN --mount=type=cache,target=/cache,mode=0777 echo image: && /setuid && echo cache: && /cache/setuid\n")
    words = output_of(build_on(w, [tar.end()], body, ok=True)).split()
    equal(words, "image: uid 1000 euid 0 cache: uid 1000 euid 1000".split(), "who ran")


@test
def users_that_are_nearly_numbers_are_exact_or_refused_atk_27(w):
    accounts = Tar().add("etc/passwd", b"root:x:0:0::/:/bin/sh\nnamed:x:7:8::/:/bin/sh\n").add("etc/group", b"root:x:0:\nstaff:x:9:\n")
    good = {"1": "1:0", "2147483648": "2147483648:0", "4294967294": "4294967294:0", "1:2": "1:2", "named": "7:8", "named:staff": "7:9",
            "0:staff": "0:9", "007": "7:8"}
    for user, who in good.items():
        result = build_on(w, [accounts.end()], f"USER {user}\nRUN echo $(id -u):$(id -g)", ok=None)
        equal((result.code, output_of(result).strip()), (0, who), f"USER {user}: {result.err}")
    for user in ("4294967295", "4294967296", "18446744073709551616", "-1", "0x10", "1e3", "+0", "0 ", "\u0660", "a:b:c", "1:-1", "1:4294967296",
                 "nobody-knows", "root\u200b"):
        result = build_on(w, [accounts.end()], f'USER "{user}"\nRUN id -u', ok=None)
        if result.code == 0 and output_of(result).strip() == "0" and user.strip() != "0":
            raise AssertionError(f"USER {user!r} became root: {result!r}")
        if user != "0 " and result.code == 0:
            raise AssertionError(f"USER {user!r} was taken: {result!r}")


@test
def account_files_are_read_in_the_image_only_and_bounded_atk_28(w):
    canary = Canary(w)
    need_root()
    outside = Tar().link("etc/passwd", str(canary.file)).link("etc/group", "/proc/self/root" + str(canary.file))
    large = Tar().add("etc/passwd", b"app:x:0:0::/:/bin/sh\n" + b"#" * (11 << 20))
    pipe = Tar().add("etc/passwd", kind=b"6")
    device = Tar().add("etc/passwd", kind=b"3", raw=[(329, b"0000001"), (337, b"0000005")])  # /dev/zero
    folder = Tar().dir("etc/passwd")
    loop = Tar().link("etc/passwd", "passwd")
    for name, tar in {"a link out": outside, "11 MiB": large, "a pipe": pipe, "a device": device, "a folder": folder, "a loop": loop}.items():
        result = build_on(w, [tar.end()], "USER app\nRUN true", ok=None, timeout=30)
        if result.code == 0:
            raise AssertionError(f"a user was found in {name}")
        canary.check(result.err)
    inside = Tar().add("etc/real", b"app:x:77:78::/:/bin/sh\n").link("etc/passwd", "../../../etc/real")
    equal(output_of(build_on(w, [inside.end()], "USER app\nRUN id -u", ok=True)).strip(), "77", "a link that stays inside")


@test
def a_workdir_through_links_is_made_in_the_root_atk_29(w):
    canary = Canary(w)
    for target in (str(canary.folder), "../" * 30 + str(canary.folder).lstrip("/"), "/proc/self/root" + str(canary.folder)):
        for body in ("USER 1000\nWORKDIR /w/a", "USER 1000\nWORKDIR /w/a\nRUN pwd", "WORKDIR /w/a\nRUN echo x > file", "USER 1000:1000\nWORKDIR /w/b/c/d\nRUN true"):
            result = build_on(w, [Tar().link("w", target).end()], body, "-o", w.path / "out.tar", timeout=60)
            canary.check(result.err)
            if result.code == 0:
                canary.check((w.path / "out.tar").read_bytes())


@test
def what_a_cache_mount_holds_is_removed_and_not_followed_atk_43(w):
    canary = Canary(w)
    body = ("RUN --mount=type=cache,target=/c cd /c && ln -s " + str(canary.folder) + " dir && ln -s " + str(canary.file) + " file && mkfifo pipe && "
            "ln -s / root && i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done\n"
            "RUN --mount=type=cache,target=/c cd /c && i=0; while [ $i -lt 3000 ]; do mkdir flat$i || exit 1; i=$((i+1)); done\n")
    build_on(w, [], body, ok=True, timeout=120)
    for words in (["du"], ["fsck"], ["prune", "--all", "--dry-run"]):
        result = w.run(*words, timeout=60)
        canary.check(result.out, result.err)
    w.run("prune", "--all", timeout=60)
    canary.check()
    equal([str(path) for path in (w.store / "mounts").rglob("flat1")], [], "what is left of the cache mount")


@test
def names_reserved_for_deletions_are_refused_atk_71(w):
    for body in ("RUN touch /.wh.etc", "RUN mkdir -p /a && touch /a/.wh..wh..opq", "RUN mkdir /.wh.d"):
        result = build_on(w, [], body, ok=False)
        contains(result.err, ".wh.")
    for body in ("COPY .wh.etc /", "COPY file /.wh.etc", "COPY . /all/", "ADD .wh.etc /a/"):
        result = build_on(w, [], body, ok=False, files={".wh.etc": "", "file": ""})
        contains(result.err, ".wh.")


def cgroups():
    return sorted(str(path) for path in pathlib.Path("/sys/fs/cgroup").glob("**/imgbuild-*"))


@test
def steps_that_fail_anywhere_leave_nothing_atk_145(w):
    failing = ["RUN exit 3", 'RUN ["/nothing"]', "RUN --network=none false", "WORKDIR /bin/cat/x\nRUN true", "USER nobody-knows\nRUN true",
               "RUN --mount=type=tmpfs,target=/t false", "RUN --mount=type=cache,target=/c touch /c/x && false", "RUN touch /.wh.x",
               "RUN --mount=type=bind,source=missing,target=/b true", "RUN sleep 60 & kill -SEGV 1; exit 9", "RUN sleep 30", "COPY missing /"]
    before = (mounts().count("\n"), cgroups(), os.listdir("/proc/self/ns"))
    for body in failing:
        options = ["--timeout", "300ms"] if "sleep 30" in body else []
        for _ in range(2):
            build_on(w, [], body, *options, ok=False, timeout=60)
    equal((mounts().count("\n"), cgroups(), os.listdir("/proc/self/ns")), before, "mounts, control groups")
    equal(leftovers(w.store), [], "leftovers in the store")


def cpu_of(work):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime


@test
def odd_shapes_of_data_cost_what_their_size_costs_atk_146(w):
    shapes = {"links": "echo x > /l0; i=1; while [ $i -lt {n} ]; do echo /l$i; i=$((i+1)); done | while read name; do echo; done; mkdir /d; cp /l0 /d/f; "
                       "i=1; while [ $i -lt {n} ]; do ln /d/f /d/$i; i=$((i+1)); done",
              "renames": "mkdir /d; i=0; while [ $i -lt {n} ]; do echo $i > /d/$i; i=$((i+1)); done; mv /d /e"}
    for name, script in shapes.items():
        script = script.replace("; i=1; while [ $i -lt {n} ]; do echo /l$i; i=$((i+1)); done | while read name; do echo; done", "")
        few, many = (cpu_of(lambda n=n: build_on(w, [], "RUN " + script.replace("{n}", str(n)), ok=True, timeout=300)) for n in (1000, 8000))
        # Eight times the work, with room for noise: what grows with the square needs 64 times as much.
        if many > 30 * max(few, 0.05):
            raise AssertionError(f"8 times as many {name} cost {many / few:.0f} times as much")
    noise, zeros = os.urandom(3 << 20), bytes(3 << 20)
    alternating = b"".join(noise[at:at + 4096] + zeros[at:at + 4096] for at in range(0, len(noise), 4096))
    build_on(w, [], "COPY data /data", "-o", w.path / "out.tar", ok=True, files={"data": alternating})
    if (w.path / "out.tar").stat().st_size > len(noise) * 1.2 + (4 << 20):
        raise AssertionError("zeros between noise were not compressed")


@test
def a_layer_on_its_way_can_be_given_up_atk_146(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY data /data\n"})
    with open(context / "data", "wb") as file:
        file.truncate(40 << 30)  # zeros, a minute's work
    for options in ([], ["--no-cache"]):  # while its key is computed, and while its layer is made
        process = start(w, context, *options)
        time.sleep(1.5)
        if process.poll() is not None:
            skip("this machine reads 40 GiB of zeros in a moment")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        equal(process.returncode, 130, "exit code")
        equal(leftovers(w.store), [], "leftovers in the store")


if __name__ == "__main__":
    run()
