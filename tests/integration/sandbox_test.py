"""What a RUN sees and may do, with --security=insecure and without, and builds at the end of their resources."""
import os
import pathlib
import re
import resource
import subprocess
import time

from harness import contains, equal, need_root, run, skip, test
from processes import leftovers, mounts

LONG = bool(os.environ.get("IMGBUILD_LONG_TESTS"))


def dockerfile(w, text, name="context"):
    return w.folder(name, {"Dockerfile": "FROM busybox\n" + text})


def output_of(result):
    return "".join(e["text"] for e in result.events if e["event"] == "step_output")


@test
def ATK_16_a_command_finds_nothing_of_the_builder_in_proc(w):
    w.busybox()
    canary = "canary-token-8472"
    names = "cmdline environ maps mountinfo status stat limits cgroup"
    context = dockerfile(w, f"RUN for p in self 1; do for f in {names}; do echo \"== $f\"; cat /proc/$p/$f | tr '\\0' '\\n'; done; "
                            "ls -l /proc/$p/fd /proc/$p/cwd /proc/$p/exe; cat /proc/$p/fdinfo/*; done; ls /proc | grep -c '^[0-9]'\n")
    result = w.build(context, env={"REGISTRY_TOKEN": canary, "SECRET_" + canary: "x"})
    shown = output_of(result)
    for part in ("== environ", "== maps", "== mountinfo"):
        contains(shown, part)
    for word in (canary, "REGISTRY_TOKEN", "imgbuild-launcher", "memfd:", "/proc/self/fd/1"):
        if word in shown:
            at = shown.index(word)
            raise AssertionError(f"{word!r} can be seen: …{shown[max(0, at - 300):at + 100]}…")


@test
def ATK_26_more_rights_need_permission_from_the_command_line(w):
    w.busybox()
    context = dockerfile(w, "RUN echo first\nRUN --security=insecure true\n")
    result = w.build(context, ok=False)
    contains(result.err, "security.insecure is not allowed")
    contains(result.err, "--allow security.insecure")
    contains(w.build(context, "--check").out, "no warnings found")  # which runs nothing
    equal(result.steps, [], "steps that were started before the refusal")
    for flag in ("--security=INSECURE", "--security=2", "--security=insecure,x", "--security=", "--network=HOST", "--network=bridge"):
        refused = w.build(dockerfile(w, f"RUN echo first\nRUN {flag} true\n"), "--allow", "security.insecure", ok=False)
        equal(refused.steps, [], f"steps that were started before {flag} was refused")
    refused = w.build(dockerfile(w, "RUN echo first\nRUN --network=host true\n"), "--network", "none", ok=False)
    contains(refused.err, "network.host is not allowed")
    equal(refused.steps, [], "steps that were started before the refusal")
    equal(w.run("build", "--allow", "everything", context, ok=False).code, 2, "exit code of an unknown permission")


@test
def an_insecure_command_has_all_rights_and_its_neighbours_do_not(w):
    need_root()
    w.busybox()
    look = "grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status; mount -t tmpfs none /mnt && echo mounted; " \
           "echo 7 2>/dev/null > /proc/sys/kernel/ostype; mount | grep ' /sys ' | grep -o '[(]r[ow]'; mount | grep -c ' /proc/sys '"
    context = dockerfile(w, f"RUN mkdir -p /mnt\nRUN --security=insecure {look}; true\nRUN {look}; true\n")
    result = w.build(context, "--allow", "security.insecure")
    steps = {}
    for event in result.events:
        if event["event"] == "step_output" and event["stream"] == 1:
            steps[event["step"]] = steps.get(event["step"], "") + event["text"]
    insecure, sandboxed = steps[1], steps[2]
    own = re.search(r"CapEff:\t(\w+)", pathlib.Path("/proc/self/status").read_text()).group(1)
    contains(insecure, f"CapEff:\t{own}\n")
    contains(insecure, "Seccomp:\t0\n")
    contains(insecure, "mounted\n(rw\n0\n")
    contains(sandboxed, "CapEff:\t00000000a80425fb\n")
    contains(sandboxed, "Seccomp:\t2\n")
    contains(sandboxed, "(ro\n1\n")
    if "mounted" in sandboxed:
        raise AssertionError("a sandboxed command could mount")


@test
def the_filter_can_be_left_out_by_name_and_that_is_another_step(w):
    w.busybox()
    context = dockerfile(w, "RUN grep Seccomp: /proc/self/status\n")
    contains(output_of(w.build(context)), "Seccomp:\t2\n")
    contains(output_of(w.build(context, "--security-opt", "seccomp=unconfined")), "Seccomp:\t0\n")
    equal(w.build(context).ran, [], "steps with the filter again")
    equal(w.run("build", "--security-opt", "seccomp=mine.json", context, ok=False).code, 2, "exit code of an unknown option")


def clean_failure(result, what):
    """A failure that says what is wrong, in our own words and without a crash."""
    if result.returncode in (0, 1) or result.returncode < 0 or result.returncode > 8:
        raise AssertionError(f"{what}: exit code {result.returncode}\n{result.stderr.decode(errors='replace')}")
    contains(result.stderr.decode(errors="replace"), "error:")


@test
def FLT_19_builds_without_descriptors_fail_cleanly_or_work(w):
    w.busybox()
    context = dockerfile(w, "COPY Dockerfile /\nRUN echo a\nRUN echo b\n")
    for limit in (8, 12, 16, 20, 24, 32, 48, 64):
        result = subprocess.run([w.program, "build", "--no-cache", context], capture_output=True, timeout=120, check=False,
                                env={**w.environment, "IMGBUILD_ROOT": str(w.store)},
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
        if result.returncode != 0:
            if result.returncode == 127:
                continue  # too few for the program to be loaded at all
            clean_failure(result, f"{limit} descriptors")
        equal(w.run("images").code, 0, "the store afterwards")
    w.build(context, "--no-cache")
    equal(leftovers(w.store), [], "leftovers in the store")


@test
def FLT_19_builds_without_processes_or_memory_fail_cleanly_or_work(w):
    need_root()
    w.busybox()
    context = dockerfile(w, "COPY Dockerfile /\nRUN echo a\nRUN echo b\n")
    for controller, file, values in (("pids", "pids.max", (1, 2, 3, 4, 6, 8, 12)), ("memory", "memory.limit_in_bytes", (67108864,))):
        own = next((line.split(":")[2] for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines()
                    if line.split(":")[1] == controller), None)
        base = pathlib.Path(f"/sys/fs/cgroup/{controller}{own}")
        if own is None or not (base / "cgroup.procs").exists():
            skip(f"needs the version 1 control group {controller}")
        group = base / f"imgbuild-test-{os.getpid()}"
        group.mkdir()
        try:
            for value in values:
                (group / file).write_text(str(value))
                result = subprocess.run([w.program, "build", "--no-cache", context], capture_output=True, timeout=120, check=False,
                                        env={**w.environment, "IMGBUILD_ROOT": str(w.store)},
                                        preexec_fn=lambda: (group / "cgroup.procs").write_text("0"))
                if result.returncode != 0:
                    clean_failure(result, f"{file} {value}")
        finally:
            deadline = time.monotonic() + 5
            while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
                time.sleep(0.02)
            group.rmdir()
    w.build(context, "--no-cache")
    equal(leftovers(w.store), [], "leftovers in the store")


@test
def FLT_30_many_small_steps_leave_nothing_behind_while_they_run(w):
    w.busybox()
    stages, steps = (100, 100) if LONG else (8, 20)
    text = "".join(f"FROM busybox AS s{i}\n" + "".join(f"RUN echo {i} {j} > /f\n" for j in range(steps)) for i in range(stages))
    text += "FROM scratch\n" + "".join(f"COPY --from=s{i} /f /f{i}\n" for i in range(stages))
    context = w.folder("context", {"Dockerfile": text})
    before = mounts().count("\n")
    process = subprocess.Popen([w.program, "build", "--progress=quiet", "--jobs", "2", context], stderr=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, env={**w.environment, "IMGBUILD_ROOT": str(w.store)})
    samples = []
    while process.poll() is None:
        try:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            samples.append((len(os.listdir(f"/proc/{process.pid}/fd")), int(re.search(r"VmRSS:\s+(\d+)", status).group(1)),
                            pathlib.Path(f"/proc/{process.pid}/mountinfo").read_text().count("\n"), len(os.listdir(w.store / "layers"))))
        except (OSError, AttributeError):
            pass
        time.sleep(0.05)
    equal(process.returncode, 0, "exit code: " + process.stderr.read().decode())
    # The layers of the last four stages stay open, so what is open grows with the first four and no more. How far the build
    # has come is told by the layers and not by the time: a busy machine may be slow for any part of it.
    five_stages = 5 * steps
    parts = [s for s in samples if s[3] < five_stages], [s for s in samples if s[3] >= five_stages]
    if min(map(len, parts)) > 10:
        for number, (what, slack) in enumerate((("descriptors", 40), ("KiB of memory", 20_000), ("mounts", 2))):
            first, second = (max(s[number] for s in part) for part in parts)
            if second > first + slack:
                raise AssertionError(f"{what} grew from {first} to {second}")
    equal(mounts().count("\n"), before, "mounts")
    equal(leftovers(w.store), [], "leftovers in the store")


if __name__ == "__main__":
    run()
