"""What builds cost where that can be counted: files opened, bytes read, processes and threads started, system calls. Never times."""
import collections
import re
import shutil

from harness import command, contains, equal, need, run, skip, test

CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\(")


class Trace:
    """One traced build: its system calls by name, and the lines."""

    def __init__(self, workspace, *arguments):
        strace = need("strace")
        log = workspace.path / "trace"
        done = command(strace, "-f", "-qq", "-s", "200", "-o", log, workspace.program, *arguments, ok=False, cwd=workspace.path,
                       env={**workspace.environment, "IMGBUILD_ROOT": str(workspace.store)})
        text = done.stderr.decode(errors="replace")
        if "ptrace" in text.lower() and "not permitted" in text.lower():
            skip("processes cannot be traced here")
        if done.returncode != 0:
            raise AssertionError(text)
        self.lines = log.read_text(errors="replace").splitlines()
        self.calls = collections.Counter(match[1] for match in map(CALL.match, self.lines) if match)

    def count(self):
        return sum(self.calls.values())

    def opened(self, part):
        return [line for line in self.lines if re.search(r"\bopenat2?\(", line) and part in line]


def tree(workspace, name, files):
    context = workspace.folder(name, {f"src/d{i // 50}/file-{i}": f"content {i}\n" * 20 for i in range(files)})
    (context / "Dockerfile").write_text("FROM scratch\nCOPY src /src\n")
    return context


@test
def an_unchanged_context_is_not_opened(w):
    context = tree(w, "context", 400)
    w.build(context, "-o", "out.tar")
    command("sleep", "0.1")
    w.run("build", "--no-cache", context)      # now every file is old enough to be remembered
    trace = Trace(w, "build", "-o", "out.tar", context)
    equal(trace.opened("file-"), [], "files of the context that were opened")
    stats = w.run("build", "--stats", "-o", "out.tar", context).err
    contains(stats, "400 digests remembered, 0 bytes read")


@test
def a_build_without_anything_to_run_starts_nothing(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN echo hi > /hi\nCOPY file /file\n", "file": "x\n"})
    w.build(context, "-o", "out.tar")
    trace = Trace(w, "build", "-o", "out.tar", context)
    for name in ("fork", "vfork", "execve", "mount", "fsopen", "unshare"):
        equal(trace.calls[name], 1 if name == "execve" else 0, f"calls of {name}")
    threads = [line for line in trace.lines if re.search(r"\bclone3?\(", line)]
    equal([line for line in threads if "CLONE_THREAD" not in line], [], "processes that were started")
    equal(len(threads), 1, "threads that were started (one waits for signals)")
    equal(trace.opened("/steps"), [], "work areas that were looked at")


@test
def what_a_machine_can_do_is_probed_once_a_store(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN echo hi > /hi\n"})
    first = Trace(w, "build", "--no-cache", context)
    if not (w.store / "probed").exists():
        raise AssertionError("nothing was remembered of the probe")
    probes = lambda trace: [line for line in trace.lines if "mkdirat" in line and '"lower"' in line]
    equal(probes(first), [], "probes after the base image was built here")
    (w.store / "probed").write_text("imgbuild probe 1\nof another boot\n")
    again = Trace(w, "build", "--no-cache", context)
    if not probes(again):
        raise AssertionError("a result of another boot was believed")


@test
def a_store_that_has_seen_many_builds_costs_no_more(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY file /file\nWORKDIR /work\n", "file": "x\n"})
    w.build(context, "-o", "out.tar")
    counts = []
    for builds in (2, 60):
        for number in range(builds):
            changing = w.folder("changing", {"Dockerfile": "FROM scratch\nCOPY file /other\n", "file": f"{builds} {number}\n"})
            w.run("build", "--progress=quiet", changing)
        counts.append(Trace(w, "build", "-o", "out.tar", context).count())
    if counts[1] > counts[0] + 4:
        raise AssertionError(f"{counts[0]} system calls after a few builds, {counts[1]} after many")


@test
def ignored_folders_are_not_entered(w):
    context = w.folder("context", {f"deep/d{i}/f{i}": "x" for i in range(200)})
    (context / ".dockerignore").write_text("*\n!keep\n")
    (context / "keep").write_text("kept\n")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /all\n")
    trace = Trace(w, "build", "-o", "out.tar", context)
    equal(trace.opened("deep"), [], "ignored folders that were opened")
    stats = w.run("build", "--stats", context).err
    contains(stats, "1 directories opened")


run()
