"""What a RUN may take: time, output, memory, processors, processes; and how it is stopped."""
import os
import pathlib
import signal
import subprocess
import time

from harness import contains, equal, need_root, run, skip, test
from processes import gone, leftovers, processes_with, sandbox_of, start_and_wait

FREEZER = pathlib.Path("/sys/fs/cgroup/freezer")


def dockerfile(w, text, name="context"):
    return w.folder(name, {"Dockerfile": "FROM busybox\n" + text})


def output_of(result):
    return "".join(e["text"] for e in result.events if e["event"] == "step_output")


# ---- being stopped

@test
def FLT_21_each_signal_stops_the_build_with_its_own_exit_code(w):
    w.busybox()
    for number, (which, code) in enumerate(((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129))):
        marker = f"41{number}{os.getpid()}"
        process = start_and_wait(w, dockerfile(w, f"RUN sleep {marker}\n", f"c{number}"), marker)
        process.send_signal(which)
        process.communicate(timeout=30)
        equal(process.returncode, code, f"exit code after {which.name}")
        equal(processes_with(f"sleep\0{marker}"), [], "processes left")
        equal(leftovers(w.store), [], "leftovers in the store")


@test
def FLT_21_a_second_ctrl_c_does_not_wait_for_anything(w):
    w.busybox()
    marker = f"42{os.getpid()}"
    process = start_and_wait(w, dockerfile(w, f"RUN trap 'sleep {marker}' TERM; sleep {marker}\n"), marker)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    equal(process.returncode, 130, "exit code")
    if not gone(f"sleep\0{marker}"):
        raise AssertionError("processes are left")
    w.build(dockerfile(w, "RUN true\n", "next"))
    equal(leftovers(w.store), [], "leftovers in the store after the next build")


@test
def a_signal_that_was_ignored_at_the_start_stays_ignored(w):
    w.busybox()
    marker = f"43{os.getpid()}"
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start_and_wait(w, dockerfile(w, f"RUN sleep 0.5; sleep {marker}\n"), marker)
    finally:
        signal.signal(signal.SIGHUP, old)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    equal(process.poll(), None, "exit code after SIGHUP under nohup")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    equal(process.returncode, 143, "exit code after SIGTERM")


@test
def a_command_that_listens_to_sigterm_can_say_goodbye(w):
    w.busybox()
    marker = f"44{os.getpid()}"
    context = dockerfile(w, f"RUN trap 'echo goodbye; exit 3' TERM; sleep {marker} & wait\n")
    process = start_and_wait(w, context, marker)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    contains(err.decode(), "goodbye")
    equal(process.returncode, 130, "exit code")


@test
def a_step_that_takes_too_long_fails_and_says_so(w):
    w.busybox()
    marker = f"45{os.getpid()}"
    context = dockerfile(w, f"RUN echo started; sleep {marker}\n")
    begin = time.monotonic()
    result = w.build(context, "--timeout", "300ms", ok=False)
    equal(result.code, 4, "exit code")
    for part in ("stopped after 300ms (--timeout)", "| started", "exit code: 137", "Dockerfile:2"):
        contains(result.err, part)
    # It cannot notice SIGTERM, so it is not given the ten seconds it would have to react.
    if time.monotonic() - begin > 8:
        raise AssertionError("the command was waited for in vain")
    equal(processes_with(f"sleep\0{marker}"), [], "processes left")
    equal(leftovers(w.store), [], "leftovers in the store")


@test
def a_step_whose_time_is_over_fails_even_when_it_ends_well(w):
    w.busybox()
    context = dockerfile(w, "RUN trap 'echo bye; exit 0' TERM; sleep 3600 & wait\n")
    result = w.build(context, "--timeout", "300ms", ok=False)
    equal(result.code, 4, "exit code")
    contains(result.err, "stopped after 300ms")
    contains(output_of(result), "bye")
    equal(w.build(context, "--timeout", "300ms", ok=False).steps[-1][1], "failed", "the same step again")


@test
def the_timeout_is_for_each_step_and_no_part_of_its_key(w):
    w.busybox()
    context = dockerfile(w, "RUN sleep 0.3\nRUN sleep 0.3\nRUN sleep 0.3\n")
    w.build(context, "--timeout", "30s")
    equal(w.build(context, "--timeout", "1m").ran, [], "steps after another timeout")


@test
def FLT_28_a_process_that_hangs_in_the_kernel_is_named_and_its_files_are_left(w):
    need_root()
    if not (FREEZER / "cgroup.procs").exists():
        skip("needs a freezer control group: a frozen process cannot even be killed")
    w.busybox()
    marker = f"46{os.getpid()}"
    group = FREEZER / f"imgbuild-test-{os.getpid()}"
    group.mkdir()
    try:
        process = start_and_wait(w, dockerfile(w, f"RUN sleep {marker}\n"), marker)
        first, _ = sandbox_of(marker)
        (group / "cgroup.procs").write_text(str(first))
        (group / "freezer.state").write_text("FROZEN")
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        _, err = process.communicate(timeout=60)
        took = time.monotonic() - begin
        if not 5 < took < 40:
            raise AssertionError(f"it waited {took} s, not about 10")
        contains(err.decode(), f"process {first} was killed but does not end")
        equal(process.returncode, 7, "exit code")
        left = list((w.store / "work").iterdir())
        equal(len(left), 1, "directories left for the process")
        w.build(dockerfile(w, "RUN true\n", "next"))
        if not left[0].exists():
            raise AssertionError("the directory was swept although the process is still there")
    finally:
        (group / "freezer.state").write_text("THAWED")
        if not gone(f"sleep\0{marker}"):
            raise AssertionError("the process outlived its kill")
        deadline = time.monotonic() + 5
        while True:
            try:
                group.rmdir()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
    w.build(dockerfile(w, "RUN echo other\n", "last"))
    equal(leftovers(w.store), [], "leftovers in the store")


@test
def FLT_2_a_launcher_that_is_killed_fails_the_step_and_nothing_hangs(w):
    w.busybox()
    marker = f"47{os.getpid()}"
    process = start_and_wait(w, dockerfile(w, f"RUN sleep {marker}\n"), marker)
    _, launcher = sandbox_of(marker)
    os.kill(launcher, signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    contains(err.decode(), "launcher")
    equal(process.returncode, 7, "exit code")
    if not gone(f"sleep\0{marker}"):
        raise AssertionError("the command outlived its launcher")
    w.build(dockerfile(w, "RUN true\n", "next"))
    equal(leftovers(w.store), [], "leftovers in the store")


@test
def FLT_3_a_command_killed_from_outside_is_137_and_not_out_of_memory(w):
    w.busybox()
    marker = f"48{os.getpid()}"
    process = start_and_wait(w, dockerfile(w, f"RUN sleep {marker}\n"), marker)
    first, _ = sandbox_of(marker)
    os.kill(first, signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    contains(err.decode(), "exit code: 137")
    if "out of memory)" in err.decode():
        raise AssertionError(f"nobody was out of memory:\n{err.decode()}")
    equal(process.returncode, 4, "exit code")


@test
def ATK_23_first_processes_that_play_games_neither_hang_nor_escape(w):
    w.busybox()
    for line in ("exec >/dev/null 2>&1 </dev/null; sleep 0.2", "sleep 3600 & exit 0", "(sleep 3600 &) ; exec true",
                 "kill -TERM $$; kill -KILL $$; true", "trap '' CHLD; (true) & (true) & sleep 0.1"):
        equal(len(w.build(dockerfile(w, f"RUN {line}\n")).ran), 1, f"steps run of {line!r}")
    marker = f"49{os.getpid()}"
    process = start_and_wait(w, dockerfile(w, f"RUN exec >&- 2>&- <&-; exec sleep {marker}\n"), marker)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    equal(process.returncode, 130, "exit code")
    equal(processes_with(f"sleep\0{marker}"), [], "processes left")


# ---- output

@test
def ATK_21_a_flood_is_clipped_and_the_end_of_a_failing_step_is_shown(w):
    w.busybox()
    context = dockerfile(w, "RUN yes 'line of a flood' | head -c 50000000; echo the last words; exit 3\n")
    result = w.build(context, ok=False)
    equal(result.code, 4, "exit code")
    shown = output_of(result)
    if not 200 << 10 < len(shown) < 5 << 20:
        raise AssertionError(f"{len(shown)} bytes of 50 MB were shown")
    contains(shown, "[output clipped, log limit ")
    contains(result.err, "| the last words")


@test
def ATK_21_an_endless_line_and_binary_garbage_stay_bounded(w):
    w.busybox()
    context = dockerfile(w, "RUN head -c 30000000 /dev/zero\nRUN head -c 3000000 /dev/urandom\n")
    result = subprocess.run([w.program, "build", "--progress=plain", context], capture_output=True, check=True,
                            env={**w.environment, "IMGBUILD_ROOT": str(w.store)})
    if len(result.stderr) > 8 << 20:
        raise AssertionError(f"{len(result.stderr)} bytes were shown")
    equal(result.stderr.count(b"[output clipped"), result.stderr.count(b"[output clipped, log limit "), "marker lines")


@test
def output_limits_can_be_set_and_lifted(w):
    w.busybox()
    context = dockerfile(w, "RUN yes 123456789 | head -n 400000\n")
    full = output_of(w.build(context, "--step-log-max-size", "0", "--step-log-max-speed", "0"))
    equal(len(full), 4_000_000, "bytes without limits")
    clipped = output_of(w.build(context, "--step-log-max-size", "1k", "--no-cache"))
    equal(clipped, "123456789\n" * 102 + "[output clipped, log limit 1.0 KiB reached]\n", "output with a small limit")


@test
def a_burst_of_errors_is_shown_whole(w):
    w.busybox()
    context = dockerfile(w, "RUN yes 'a.cc:1: error: something' | head -n 20000 >&2; exit 1\n")
    result = w.build(context, ok=False)
    equal(output_of(result).count("error: something\n"), 20000, "error lines")


# ---- resources

@test
def every_command_reports_what_it_used(w):
    w.busybox()
    context = dockerfile(w, "RUN i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done\nRUN false\n")
    result = w.build(context, ok=False)
    used = [e for e in result.events if e["event"] == "step_used"]
    equal(len(used), 2, "reports, of the failed command too")
    if used[0]["cpu_nanoseconds"] < 10_000_000 or not 100_000 < used[0]["peak_memory_bytes"] < 1 << 30:
        raise AssertionError(f"hardly true: {used[0]}")
    stats = w.run("build", "--stats", "--no-cache", dockerfile(w, "RUN true\n", "stats")).err
    contains(stats, "ms of processor time, at most")
    contains(stats, "RUN true")


def need_v1(*controllers):
    need_root()
    for controller in controllers:
        if not pathlib.Path(f"/sys/fs/cgroup/{controller}/cgroup.procs").exists():
            skip(f"needs the version 1 control group {controller}")


def own_groups():
    """The control groups of ours that are left anywhere."""
    return [str(p) for p in pathlib.Path("/sys/fs/cgroup").rglob("imgbuild-*") if "test" not in p.name]


@test
def ATK_20_a_command_out_of_memory_is_killed_and_the_builder_is_not(w):
    need_v1("memory")
    w.busybox()
    context = dockerfile(w, "RUN exec dd if=/dev/zero of=/dev/null bs=300M count=1\n")
    result = w.build(context, "--memory", "64m", ok=False)
    equal(result.code, 4, "exit code")
    for part in ("exit code: 137 (killed: out of memory)", "the memory limit of 64.0 MiB (--memory) was reached, peak 64.0 MiB",
                 "the kernel killed process "):
        contains(result.err, part)
    if os.access("/dev/kmsg", os.R_OK):
        contains(result.err, "(dd)")
    used = [e for e in result.events if e["event"] == "step_used"][0]
    equal((used["peak_memory_bytes"], used["peak_memory_of"]), (64 << 20, "all processes"), "peak memory")
    equal(own_groups(), [], "control groups left")
    equal(len(w.build(context, "--memory", "800m").ran), 1, "steps with enough memory")


@test
def in_a_chroot_control_groups_keep_the_limits_too(w):
    need_v1("memory", "pids")
    w.busybox()
    context = dockerfile(w, "RUN dd if=/dev/zero of=/dev/null bs=300M count=1 || exit 2\n")
    result = w.build(context, "--isolation=chroot", "--memory", "64m", ok=False)
    contains(result.err, "exit code: 2 (killed: out of memory)")
    contains(result.err, "the kernel killed process ")
    bomb = dockerfile(w, "RUN b() { b | b & }; b; while :; do sleep 1; done\n")
    result = w.build(bomb, "--isolation=chroot", "--pids-limit", "100", "--timeout", "1s", ok=False)
    contains(result.err, "the limit of 100 processes (--pids-limit) was reached")
    equal([e for e in result.events if e["event"] == "note" and "watched" in e["text"]], [], "notices about watching")
    equal(own_groups(), [], "control groups left")


@test
def a_child_out_of_memory_is_named_even_when_the_shell_survives(w):
    need_v1("memory")
    w.busybox()
    context = dockerfile(w, "RUN dd if=/dev/zero of=/dev/null bs=300M count=1 || exit 2\n")
    result = w.build(context, "--memory", "64m", "--memory-swap", "64m", ok=False)
    contains(result.err, "exit code: 2 (killed: out of memory)")
    contains(result.err, "(--memory) was reached")


@test
def ATK_19_a_fork_bomb_meets_its_limit_or_its_timeout(w):
    need_v1("pids")
    w.busybox()
    context = dockerfile(w, "RUN b() { b | b & }; b; while :; do sleep 1; done\n")
    result = w.build(context, "--pids-limit", "100", "--timeout", "3s", ok=False)
    equal(result.code, 4, "exit code")
    contains(result.err, "stopped after 3s")
    contains(result.err, "the limit of 100 processes (--pids-limit) was reached")
    equal(own_groups(), [], "control groups left")
    equal(leftovers(w.store), [], "leftovers in the store")
    result = w.build(dockerfile(w, "RUN for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait\n"), "--pids", "5", ok=False)
    contains(result.err, "(--pids-limit) was reached")


@test
def processors_can_be_limited(w):
    need_v1("cpu", "cpuset")
    w.busybox()
    work = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done"
    context = dockerfile(w, f"RUN {work}\nRUN grep Cpus_allowed_list /proc/self/status\n")
    result = w.build(context, "--cpus", "0.1", "--cpuset-cpus", "0", "--cpu-shares", "512")
    contains(output_of(result), "Cpus_allowed_list:\t0\n")
    used = [e for e in result.events if e["event"] == "step_used"][0]["cpu_nanoseconds"]
    took = [e for e in result.events if e["event"] == "step_finished"][0]["nanoseconds"]
    if took < 4 * used:  # a tenth of a processor; the rest is what is done around the command
        raise AssertionError(f"{used} ns of processor time in {took} ns")
    equal(own_groups(), [], "control groups left")


@test
def limits_are_no_part_of_the_key_and_of_each_step(w):
    need_v1("memory", "pids")
    w.busybox()
    context = dockerfile(w, "RUN head -c 30000000 /dev/zero > /a\nRUN head -c 30000000 /dev/zero > /b\n")
    w.build(context, "-m", "100m", "--pids-limit=50")
    equal(w.build(context, "--memory", "50m").ran, [], "steps with another limit")


@test
def a_limit_that_cannot_be_applied_is_an_error_before_the_command_runs(w):
    w.busybox()
    context = dockerfile(w, "RUN echo ran\n")
    result = w.build(context, "--cpuset-cpus", "999", ok=False)
    contains(result.err, "--cpuset-cpus")
    if "ran\n" in output_of(result):
        raise AssertionError("the command ran without its limit")
    equal(own_groups(), [], "control groups left")
    for flags in (["--memory", "1k"], ["--cpus", "1", "--cpu-quota", "5000"], ["--timeout", "5"], ["--memory-swap", "1g"]):
        equal(w.run("build", *flags, context, ok=False).code, 2, f"exit code of {flags}")


@test
def a_killed_builder_leaves_no_group_beyond_the_next_build(w):
    need_v1("pids")
    w.busybox()
    marker = f"50{os.getpid()}"
    process = start_and_wait(w, dockerfile(w, f"RUN sleep {marker}\n"), marker, "--pids-limit", "50")
    process.kill()
    process.wait()
    if not gone(f"sleep\0{marker}"):
        raise AssertionError("processes are left")
    deadline = time.monotonic() + 5
    while own_groups() and time.monotonic() < deadline:
        w.build(dockerfile(w, f"RUN echo {time.monotonic()}\n", "next"), "--pids-limit", "50")
    equal(own_groups(), [], "control groups left")


if __name__ == "__main__":
    run()
