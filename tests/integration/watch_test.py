"""Limits of RUN where no control group can be had: memory and processes are watched, processors are bound."""
import contextlib
import json
import os
import re
import subprocess

from environments import UID, Container, run_in
from harness import Result, contains, equal, need_root, run, test
from private_mounts import enter_private_mounts, need_private_mounts
from processes import leftovers, processes_with
from unprivileged_test import ordinary_user

HOG = "exec dd if=/dev/zero of=/dev/null bs=300M count=200"
FAMILY = "for i in 1 2; do dd if=/dev/zero of=/dev/null bs=45M count=2000 & done; wait"
# Doubles ten times and then stays: a watchdog that fails costs the machine a thousand processes and not all it has.
BOMB = "b() { if [ $1 -gt 0 ]; then b $(($1 - 1)) | b $(($1 - 1)) & else exec sleep 91.25; fi; }; b 10; while :; do sleep 1; done"
HOW = "it was watched by imgbuild, not kept by the kernel"


@contextlib.contextmanager
def without_control_groups():
    need_private_mounts()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/sys/fs/cgroup"], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "/sys/fs/cgroup"], check=True)


def check_limits(build, is_chroot=False):
    """`build` takes what RUN is to do and options; gives a Result with its events."""
    done = build("sleep 0.2", "--memory", "64m", "--pids-limit", "50")
    equal(done.code, 0, f"exit code of a modest command: {done}")
    notices = [e["text"] for e in done.events if e["event"] == "note" and e["text"].startswith("limits: ")]
    equal(len(notices), 1, f"notices in {done.events}")
    for part in ("--memory and --pids-limit are watched by imgbuild, which can miss a burst", "the kernel does not keep them because ",
                 "Delegate="):
        contains(notices[0], part)
    used = [e for e in done.events if e["event"] == "step_used"][0]
    equal(used["peak_memory_of"], "all processes, sampled", "what the peak is of")
    if used["cpu_nanoseconds"] <= 0 or used["peak_memory_bytes"] <= 0:
        raise AssertionError(f"hardly true: {used}")

    # One that is too large, and two that are so together only.
    for command, name in ((HOG, "(dd)"), (FAMILY, "(dd)")):
        done = build(command, "--memory", "64m")
        equal(done.code, 4, f"exit code of {command}: {done}")
        for part in ("exit code: 137 (killed: out of memory)", "the memory limit of 64.0 MiB (--memory) was reached, peak ", name, HOW):
            contains(done.err, part)
    used = [e for e in done.events if e["event"] == "step_used"][0]
    if used["peak_memory_bytes"] <= 64 << 20:
        raise AssertionError(f"the peak is below the limit it went over: {used}")
    if not is_chroot:
        done = build("head -c 100000000 /dev/zero > /dev/shm/x; sleep 60", "--memory", "64m", "--shm-size", "200m")
        contains(done.err, "files in memory (tmpfs) held most")
        mount = "--mount=type=tmpfs,target=/t head -c 100000000 /dev/zero > /t/x; sleep 60"
        contains(build(mount, "--memory", "64m").err, "files in memory (tmpfs) held most")

    done = build(BOMB, "--pids-limit", "50", "--timeout", "60s")
    equal(done.code, 4, f"exit code of a fork bomb: {done}")
    for part in ("exit code: 137 (killed: too many processes)", "the limit of 50 processes (--pids-limit) was reached",
                 HOW):
        contains(done.err, part)
    equal(bool(re.search(r"most of them (sh|sleep|busybox)\b", done.err)), True, f"the name of most of them in {done.err}")
    equal(processes_with("b() {") + processes_with("91.25"), [], "processes left of the fork bomb")
    # Threads and processes within the limits stay alone.
    done = build("for i in 1 2 3 4 5 6 7 8; do sleep 0.3 & done; wait; echo all here", "--pids-limit", "20", "--memory", "64m")
    equal(done.code, 0, f"exit code of a small family: {done}")

    done = build("nproc; grep Cpus_allowed_list /proc/self/status || true", "--cpus", "1")
    contains(output_of(done), "1\n")
    contains(" ".join(e["text"] for e in done.events if e["event"] == "note"), "--cpus binds commands to processors")
    if not is_chroot:
        listed = [line for line in output_of(done).splitlines() if line.startswith("Cpus_allowed_list:")][0].split("\t")[1]
        equal(listed.isdigit(), True, f"one processor in {listed}")
    for options, part in ((("--cpus", "0.5"), "only whole processors"), (("--cpu-shares", "512"), "--cpu-shares cannot be applied"),
                          (("--memory", "64m", "--memory-swap", "64m"), "--memory-swap cannot be applied")):
        done = build("echo ran", *options)
        equal(done.code, 8, f"exit code of {options}: {done}")
        contains(done.err, part)
        equal(output_of(done), "", f"output with {options}")


def output_of(result):
    return "".join(e["text"] for e in result.events if e["event"] == "step_output")


def builder_of(w, *fixed):
    def build(command, *options):
        folder = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN {command}\n"})
        return w.build(folder, "--no-cache", *fixed, *options, ok=None)
    return build


@test
def ATK_19_ATK_20_root_without_control_groups_watches(w):
    w.busybox()
    with without_control_groups():
        check_limits(builder_of(w))
    equal(leftovers(w.store), [], "leftovers in the store")


@test
def root_without_control_groups_watches_commands_that_share_the_processes_around(w):
    w.busybox()
    with without_control_groups():
        check_limits(builder_of(w, "--no-process-sandbox"))


@test
def root_without_control_groups_watches_in_a_chroot(w):
    w.busybox()
    with without_control_groups():
        check_limits(builder_of(w, "--isolation=chroot"), is_chroot=True)


@test
def ATK_19_ATK_20_an_ordinary_user_watches(w):
    ordinary_user(w)
    w.busybox()
    check_limits(builder_of(w))
    equal(leftovers(w.store), [], "leftovers in the store")


@test
def a_user_without_subordinate_ids_watches(w):
    need_root()
    ordinary_user(w)
    w.prefix = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all"]
    os.chown(w.path, UID, UID)
    w.busybox()
    check_limits(builder_of(w))


@test
def root_in_a_container_with_dockers_defaults_watches(w):
    container = Container(w)
    container.config["linux"].setdefault("resources", {})["pids"] = {"limit": 5000}  # should the watchdog sleep
    w.busybox()
    w.run("build", "-q", "-o", f"type=docker,name=busybox,dest={container.shared}/base.tar",
          w.folder("base-again", {"Dockerfile": "FROM busybox\n"}))
    equal(run_in(container, "load", "-i", "/shared/base.tar").returncode, 0, "exit code of load")

    def build(command, *options):
        w.folder("shared/context", {"Dockerfile": f"FROM busybox\nRUN {command}\n"})
        result = Result(run_in(container, "build", "--progress=json", "--no-cache", *options, "/shared/context"))
        result.events = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
        return result
    check_limits(build, is_chroot=True)


@test
def parallel_steps_are_bound_to_different_processors(w):
    w.busybox()
    text = "FROM busybox AS a\nRUN grep Cpus_allowed_list /proc/self/status; sleep 1\n"
    text += text.replace("AS a", "AS b").replace("sleep 1", "sleep 1.1")
    text += "FROM busybox\nCOPY --from=a /etc/group /a\nCOPY --from=b /etc/group /b\n"
    with without_control_groups():
        done = w.build(w.folder("context", {"Dockerfile": text}), "--jobs", "4", "--cpus", "1")
    bound = sorted(line for line in output_of(done).splitlines() if line.startswith("Cpus_allowed_list"))
    equal(len(bound), 2, f"lines of {bound}")
    if len(os.sched_getaffinity(0)) > 1 and bound[0] == bound[1]:
        raise AssertionError(f"both steps have {bound[0]}")


@test
def doctor_says_that_limits_are_watched(w):
    with without_control_groups():
        contains(w.run("doctor").out, "limits:      watched: ")
        equal(json.loads(w.run("doctor", "--format=json").out)["limits"].startswith("watched: "), True, "limits in JSON")


if __name__ == "__main__":
    enter_private_mounts()
    run()
