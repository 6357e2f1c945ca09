"""What is watched from outside while a build goes: mounts, processes, leftovers in the store."""
import os
import pathlib
import subprocess
import time

from harness import PROGRAM


def mounts():
    return pathlib.Path("/proc/self/mountinfo").read_text()


def processes_with(word):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def start(w, *arguments):
    """A build in the background."""
    return subprocess.Popen([PROGRAM, "build", *arguments], env={**w.environment, "IMGBUILD_ROOT": str(w.store)},
                            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=w.path)


def start_and_wait(w, context, marker, *arguments):
    """Starts a build and returns when its command sleeps for `marker` seconds."""
    process = start(w, *arguments, context)
    deadline = time.monotonic() + 20
    while not processes_with(f"sleep\0{marker}"):
        if time.monotonic() > deadline or process.poll() is not None:
            process.kill()
            raise AssertionError("the command did not start")
        time.sleep(0.02)
    return process


def leftovers(store):
    """What lies in the work areas of a store when nobody uses it."""
    found = []
    for area in ("ingest", "steps", "work"):
        folder = store / area
        if folder.exists():
            found += [str(p) for p in folder.iterdir() if p.name not in ("lock",) and not p.name.startswith(".lock")]
    return found


def sandbox_of(marker):
    """The first process of the sandbox in which something sleeps for `marker` seconds, and its launcher."""
    pid = processes_with(f"sleep\0{marker}")[0]
    while True:
        parent = int((pathlib.Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])
        if os.readlink(f"/proc/{parent}/ns/pid") == os.readlink("/proc/self/ns/pid"):
            return pid, parent
        pid = parent


def gone(word, within=5):
    """Whether no process has this word on its command line, within so many seconds."""
    deadline = time.monotonic() + within
    while processes_with(word):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
