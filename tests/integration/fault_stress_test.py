"""Many builds on one store, some of them killed: nothing is corrupt, and no step runs twice while its owner lives.

Short form: 6 processes, 5 builds each. Long form: IMGBUILD_STRESS=32x50.
"""
import os
import random
import subprocess
import threading
import time

from flight_test import Running, counted, counting
from harness import equal, need_root, run, test
from store_check import corrupt_blobs, orphans, same_as, unfinished

PROCESSES, BUILDS = map(int, os.environ.get("IMGBUILD_STRESS", "6x5").split("x"))
SEED = int(os.environ.get("IMGBUILD_SEED", "1"))
VARIANTS = 8


def make_contexts(w):
    """Dockerfiles that share steps in part: 8 files, 1 + 4 + 8 different commands."""
    contexts = []
    for v in range(VARIANTS):
        text = ("FROM busybox AS a\n" + counting("common", "mkdir /a && seq 2000 > /a/common") + f"COPY src/{v % 4} /a/src\n" +
                counting(f"half{v % 4}", f"cat /a/src /a/common > /a/half") +
                "FROM busybox\nCOPY --from=a /a /b\n" + counting(f"own{v}", f"echo {v} > /b/own") + "WORKDIR /b\n")
        contexts.append(w.folder(f"context{v}", {"Dockerfile": text, **{f"src/{i}": f"{i}\n" * 5000 for i in range(4)}}))
    return contexts


def stress(w, kill_share):
    need_root()
    contexts = make_contexts(w)
    names = ["common", *(f"half{i}" for i in range(4)), *(f"own{v}" for v in range(VARIANTS))]
    arguments = ["--source-date-epoch=1000000000"]
    w.busybox()
    base = w.path / "base-store"
    subprocess.run(["cp", "-a", w.store, base], check=True)
    begin = time.monotonic()
    right = [Running(w, context, *arguments, "-t", f"image{v}").wait().out for v, context in enumerate(contexts)]
    length = (time.monotonic() - begin) / VARIANTS
    reference = w.path / "reference"
    w.store.rename(reference)
    base.rename(w.store)
    problems, kills, lock = [], [0], threading.Lock()

    def work(number):
        chance = random.Random(SEED * 1000 + number)
        for _ in range(BUILDS):
            variant = chance.randrange(VARIANTS)
            build = Running(w, contexts[variant], *arguments, "-t", f"image{variant}")
            if chance.random() < kill_share:
                time.sleep(chance.random() * length * 2)
                build.process.kill()
            out, err = build.process.communicate()
            with lock:
                if build.process.returncode == -9:
                    kills[0] += 1
                elif build.process.returncode != 0:
                    problems.append(f"exit {build.process.returncode}: {err.decode(errors='replace')[-2000:]}")
                elif out.decode() != right[variant]:
                    problems.append(f"image{variant} is {out.decode().strip()} instead of {right[variant].strip()}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(problems[:3], [], "builds that went wrong")
    for v, context in enumerate(contexts):
        equal(Running(w, context, *arguments, "-t", f"image{v}").wait().out, right[v], f"image{v} afterwards")
    runs = {name: counted(w, name) for name in names}
    more = sum(runs.values()) - len(names)
    print(f"     {PROCESSES * BUILDS} builds, {kills[0]} killed, {len(names)} commands ran {sum(runs.values())} times")
    equal(more <= kills[0] and min(runs.values()) >= 1, True, f"{kills[0]} kills, but commands ran {runs}")
    Running(w, contexts[0], *arguments).wait()
    equal(corrupt_blobs(w.store), [], "corrupt blobs")
    equal(unfinished(w.store), [], "unfinished things")
    equal(orphans(w), [], "what nothing needs")
    equal(same_as(w.store, reference), [], "names in the store against one that saw each build once")


@test
def many_builds_run_each_step_once(w):
    stress(w, 0)


@test
def many_builds_with_random_kills_corrupt_nothing(w):
    stress(w, 0.4)


if __name__ == "__main__":
    run()
