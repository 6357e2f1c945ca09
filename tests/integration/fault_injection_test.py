"""Builds that are killed, or whose disk fails, at one call after the other: the next build is right and the store
holds what a store holds that never saw a failure.

In its short form a sample of the calls is hit. IMGBUILD_FAULTS=N hits N of each kind (0: every call there is).
"""
import errno
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import time

from harness import PROGRAM, Workspace, equal, need_root, run, skip, test
from private_mounts import enter_private_mounts
from store_check import corrupt_blobs, leftovers_beside, orphans, same_as, unfinished

PRELOAD = os.environ.get("FAULT_PRELOAD", "")
COUNT = int(os.environ.get("IMGBUILD_FAULTS", "3"))
SEED = int(os.environ.get("IMGBUILD_SEED", "1"))

DOCKERFILE = """\
FROM busybox AS build
WORKDIR /w
COPY src /w/src
RUN --mount=type=cache,target=/c cat src/* > all && mkdir d && cp all d/ && ln all d/hard && ln -s all link && rm src/f1 && \\
    mv src/f2 src/moved && chmod 0700 src && echo x >> /c/log
RUN rm -r src && mkdir src && echo new > src/new
FROM busybox
COPY --from=build /w /w
RUN --mount=type=bind,from=build,source=/w,target=/m cp -r /m /copy
"""


def mounts():
    return set(pathlib.Path("/proc/self/mountinfo").read_text().splitlines())


class Faults:
    """One build, known from a run that nothing disturbed, and ways to disturb it."""

    def __init__(self, w, dockerfile=DOCKERFILE):
        need_root()
        if not PRELOAD:
            skip("FAULT_PRELOAD does not name the library that makes calls fail")
        self.w = w
        w.busybox()
        self.base = w.path / "base-store"
        w.store.rename(self.base)
        self.context = w.folder("context", {"Dockerfile": dockerfile, **{f"src/f{i}": f"{i}\n" * 1000 for i in range(6)}})
        self.out = w.path / "out"
        self.mounts = mounts()
        self.fresh()
        self.digest = self.build()
        self.tar = (self.out / "image.tar").read_bytes()
        self.reference = w.path / "reference"
        w.store.rename(self.reference)

    def fresh(self):
        shutil.rmtree(self.w.store, ignore_errors=True)
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        subprocess.run(["cp", "-a", "--reflink=auto", self.base, self.w.store], check=True)

    def command(self):
        return [PROGRAM, "build", "--progress=plain", "--source-date-epoch=1000000000", "-t", "result", "-o",
                self.out / "image.tar", self.context]

    def build(self):
        done = subprocess.run(self.command(), env=self.environment(), capture_output=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"a build failed that nothing disturbed: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode().strip()

    def environment(self, **more):
        return {**self.w.environment, "IMGBUILD_ROOT": str(self.w.store), **more}

    def disturbed(self, under, at=0, action="", sticky=False, calls="", name=""):
        """Runs the build; gives (exit code, stderr, number of calls)."""
        counter = self.w.path / "counter"
        counter.write_bytes(bytes(8))
        environment = self.environment(LD_PRELOAD=PRELOAD, FAULT_UNDER=str(under), FAULT_COUNTER=str(counter), FAULT_AT=str(at),
                                       FAULT_ACTION=str(action), FAULT_CALLS=calls, FAULT_NAME=name)
        if sticky:
            environment["FAULT_STICKY"] = "1"
        done = subprocess.run(self.command(), env=environment, capture_output=True, timeout=120, check=False)
        return done.returncode, done.stderr.decode(errors="replace"), struct.unpack("Q", counter.read_bytes())[0]

    def check_afterwards(self, what):
        """The next build is right, and then nothing tells that there was a failure."""
        left = (self.out / "image.tar")
        if left.exists() and left.read_bytes() != self.tar:
            raise AssertionError(f"{what}: half an archive was left")
        equal(self.build(), self.digest, f"{what}: digest of the next build")
        equal(left.read_bytes() == self.tar, True, f"{what}: the next archive is the right one")
        self.build()  # sweeps what the one before could not
        equal(corrupt_blobs(self.w.store), [], f"{what}: corrupt blobs")
        equal(unfinished(self.w.store), [], f"{what}: unfinished things in the store")
        equal(same_as(self.w.store, self.reference), [], f"{what}: names in the store against one that saw no failure")
        equal(orphans(self.w), [], f"{what}: what nothing needs")
        equal(leftovers_beside(self.out, ["image.tar"]), [], f"{what}: files beside the output")
        equal(mounts() - self.mounts, set(), f"{what}: mounts")

    def calls_to_hit(self, under, seed, calls):
        """Numbers of calls, and how many there are."""
        total = self.disturbed(under, calls=calls)[2]
        numbers = list(range(1, total + 1))
        if COUNT == 0 or COUNT >= total:
            return numbers, total
        return sorted(random.Random(SEED * 1000 + seed).sample(numbers, COUNT)), total


def hit_calls(w, under_output, action, seed, says="error:", **options):
    faults = Faults(w)
    faults.fresh()
    under = faults.out if under_output else w.store
    numbers, total = faults.calls_to_hit(under, seed, options.get("calls", ""))
    wrong = 0
    for number in numbers:
        faults.fresh()
        code, err, _ = faults.disturbed(under, number, action, **options)
        what = f"{action} at call {number}"
        if action == "kill":
            if code not in (-signal.SIGKILL, 0):  # the number of calls differs a little from run to run
                raise AssertionError(f"{what}: exit {code}: {err}")
        elif code < 0 or code >= 128:
            raise AssertionError(f"{what}: died with {code}: {err}")
        elif code != 0:
            wrong += 1
            if "error:" not in err or says not in err:
                raise AssertionError(f"{what}: exit {code} without the error message {says}: {err}")
        faults.check_afterwards(what)
    print(f"     {len(numbers)} injections at {total} calls, {wrong} of them made the build fail")


@test
def FLT_4_killed_at_every_call_that_changes_the_store(w):
    hit_calls(w, False, "kill", 1)


@test
def FLT_4_killed_at_every_call_that_writes_the_output(w):
    hit_calls(w, True, "kill", 2)


@test
def FLT_5_the_disk_fills_up_at_some_call_and_stays_full(w):
    hit_calls(w, False, errno.ENOSPC, 3, sticky=True)


@test
def FLT_7_the_quota_is_used_up_at_some_call(w):
    hit_calls(w, False, errno.EDQUOT, 4, sticky=True)


@test
def FLT_8_the_store_becomes_read_only(w):
    hit_calls(w, False, errno.EROFS, 5, sticky=True)


@test
def FLT_9_the_disk_answers_one_call_with_an_input_output_error(w):
    hit_calls(w, False, errno.EIO, 6)


@test
def FLT_9_a_mount_point_that_cannot_be_taken_away_is_in_no_layer(w):
    faults = Faults(w, "FROM busybox\nRUN --mount=type=cache,target=/c touch /x\n")
    faults.fresh()
    code, err, hits = faults.disturbed(w.store, 1, errno.EIO, calls="rmdir", name="/c")
    equal((code, hits >= 1), (7, True), f"exit code, and whether /c was to be removed: {err}")
    faults.check_afterwards("/c stayed")


@test
def FLT_19_no_descriptor_is_left_for_a_new_file(w):
    hit_calls(w, False, errno.EMFILE, 7, calls="open")


@test
def STO_34_the_output_cannot_be_written(w):
    hit_calls(w, True, errno.ENOSPC, 8, sticky=True)


@test
def FLT_1_killed_at_random_times(w):
    faults = Faults(w)
    chance = random.Random(SEED)
    begin = time.monotonic()
    faults.fresh()
    faults.build()
    longest = time.monotonic() - begin
    for number in range(COUNT or 200):
        faults.fresh()
        process = subprocess.Popen(faults.command(), env=faults.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.random() * longest)
        process.kill()
        process.wait()
        faults.check_afterwards(f"killed for the {number + 1}. time")


if __name__ == "__main__":
    enter_private_mounts()
    run()
