"""The same as an ordinary user with subordinate ids: the program runs in a user namespace of its own."""
import json
import os
import pathlib
import pwd
import shutil
import subprocess

from bases import debian_base
from case_files import Image
from harness import PROGRAM, PROJECTS, Workspace, command, contains, equal, need, need_root, run, skip, test

USER = "imgbuild-test"


def ordinary_user(w, subordinate_ids=True):
    """Hands the workspace to a user made for the tests; programs run as that user from then on."""
    need_root()
    need("newuidmap")
    try:
        account = pwd.getpwnam(USER)
    except KeyError:
        done = command(need("useradd"), "--create-home", "--shell", "/bin/sh", USER, ok=False)
        if done.returncode != 0:
            skip("no test user can be made: " + done.stderr.decode().strip())
        account = pwd.getpwnam(USER)
    if subordinate_ids and USER not in pathlib.Path("/etc/subuid").read_text():
        skip("the test user has no subordinate ids")
    w.run_as = account
    program = w.path / "imgbuild"
    shutil.copy(PROGRAM, program)      # the build folder may be closed to others
    os.chmod(program, 0o755)
    os.chown(w.path, account.pw_uid, account.pw_gid)
    w.program = program
    w.environment["HOME"] = str(w.path)
    w.prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--inh-caps=-all"]
    return account


@test
def a_user_builds_the_same_image_as_root(w):
    base = {"Dockerfile": "FROM busybox\nRUN mkdir /d && echo x > /d/f && chown 7:8 /d/f && chmod 4755 /d/f\n"
                          "USER 1000\nRUN id -u > /tmp/id\nUSER 0\n"
                          "COPY --chown=3:4 f /g\nRUN rm /d/f && ln -s /nowhere /d/l\nWORKDIR /w\n", "f": "text"}
    digests = {}
    for who in ("root", "user"):
        if who == "user":
            account = ordinary_user(w)
            w.store = w.path / "user-store"
        w.busybox()
        context = w.folder("context", base)
        archive = w.path / f"{who}.tar"
        w.build(context, "--source-date-epoch", "1000000000", "-o", archive)
        image = Image(archive)
        digests[who] = [layer["digest"] for layer in image.manifest["layers"][-5:]]
        equal(image.read("/tmp/id"), b"1000\n", "user id inside")
    equal(digests["user"], digests["root"], "layers by user and by root")
    equal(os.stat(w.store).st_uid, account.pw_uid, "owner of the store")


@test
def a_user_builds_the_example_project(w):
    ordinary_user(w)
    w.busybox()
    archive = w.path / "hello.tar"
    first = w.build(PROJECTS / "hello", "-t", "hello", "-o", archive)
    equal(w.build(PROJECTS / "hello", "-t", "hello", "-o", archive).ran, [], "steps run again")
    equal(len(first.ran), 4, "steps run")
    contains(w.run("images").out, "hello:latest")


@test
def a_user_compiles_a_program_in_a_debian_base(w):
    base = debian_base(Workspace(w.path))
    ordinary_user(w)
    copy = w.path / "base.tar"
    shutil.copy(base, copy)
    os.chmod(copy, 0o644)
    w.run("load", "-i", copy)
    archive = w.path / "primes.tar"
    w.build(PROJECTS / "c-program", "-t", "primes", "-o", archive, timeout=1200)
    equal(w.build(PROJECTS / "c-program", "-t", "primes", "-o", archive).ran, [], "steps run again")
    command(need("skopeo"), "inspect", f"oci-archive:{archive}")
    equal(sorted(Image(archive).rootfs()), ["/primes"], "files of the image")


@test
def a_user_without_subordinate_ids_runs_commands_with_one_id_and_learns_what_is_missing(w):
    """RLS-4, RLS-10"""
    ordinary_user(w, subordinate_ids=False)
    # uid 12345 has no name and no ranges.
    os.chown(w.path, 12345, 12345)
    w.prefix = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--inh-caps=-all"]
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "x"})
    w.build(context)
    w.busybox()
    lines = "FROM busybox\nCOPY --chown=33:44 f /f\nRUN id -u > /id && echo y >> /f\n"
    result = w.run("build", "--progress=plain", "-o", w.path / "out.tar",
                   w.folder("with-run", {"Dockerfile": lines, "f": "x"}))
    contains(result.err, "tier T2")
    contains(result.err, "/etc/subuid")
    files = Image(w.path / "out.tar").rootfs()
    equal(files["/id"]["content"], b"0\n", "the user in RUN")
    equal((files["/f"]["uid"], files["/f"]["gid"]), (33, 44), "owner of a file that RUN wrote to")
    result = w.run("build", w.folder("other", {"Dockerfile": "FROM busybox\nUSER 5\nRUN true\n"}), ok=False)
    contains(result.err, "beyond the ids of this user namespace")


@test
def a_user_learns_how_to_get_limits_and_has_timeouts_without(w):
    ordinary_user(w)
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN echo start; sleep 3600\n"})
    if pathlib.Path("/sys/fs/cgroup/memory").exists():  # which only root may use
        result = w.build(context, "--cpu-shares", "512", ok=False)
        equal(result.code, 8, "exit code")
        contains(result.err, "--cpu-shares cannot be applied")
        contains(result.err, "Delegate=yes")
    result = w.build(context, "--timeout", "1s", "--memory", "64m", ok=False)
    equal(result.code, 4, "exit code")
    contains(result.err, "stopped after 1s")


@test
def a_user_counts_checks_and_prunes_a_store_with_files_of_subordinate_ids(w):
    account = ordinary_user(w)
    w.store = w.path / "user-store"
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN mkdir -m 700 /d && echo x > /d/f && chown -R 7:8 /d\nRUN ls /d\n"})
    os.chown(context, account.pw_uid, account.pw_gid)
    w.run("build", "-t", "app", context)
    told = json.loads(w.run("du", "--format=json").out)
    equal(told["size"], int(command("du", "-s", "-B1", w.store).stdout.split()[0]), "bytes of the store")
    equal(json.loads(w.run("fsck", "--deep", "--format=json").out)["problems"], [], "problems")
    w.run("rmi", "app")
    w.run("prune", "--all")
    equal(list((w.store / "layers").iterdir()), [], "extracted layers left")


if __name__ == "__main__":
    run()
