"""Hosts and disks that go wrong under a running build: power loss, dying disks, clocks that jump, readers that leave."""
import fcntl
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

from fault_injection_test import DOCKERFILE
from flight_test import Running, counted, counting, wait_until
from harness import PROGRAM, REPOSITORY, Workspace, contains, equal, need, need_root, run, skip, test
from private_mounts import enter_private_mounts, need_private_mounts
from store_check import corrupt_blobs, leftovers_beside, listing, unfinished

SEED = int(os.environ.get("IMGBUILD_SEED", "1"))
ROUNDS = int(os.environ.get("IMGBUILD_FAULTS", "4"))
EXT4_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32): every later call fails
NO_LOG_FLUSH = 2            # what was not synced is lost, as when the power goes


class Disk:
    """An ext4 file system on a loop device that can lose its power."""

    def __init__(self, folder, options):
        need_private_mounts()
        self.image, self.path, self.options = folder / "disk.img", folder / "disk", options
        self.path.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(1 << 30)  # sparse; a store keeps 256 MiB free
        subprocess.run([need("mkfs.ext4"), "-q", "-F", str(self.image)], check=True, capture_output=True)
        self.mount()

    def mount(self):
        done = subprocess.run(["mount", "-o", ",".join(["loop", *self.options]), self.image, self.path], capture_output=True, check=False)
        if done.returncode != 0:
            skip(f"no loop device can be mounted: {done.stderr.decode().strip()}")

    def lose_power(self):
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, EXT4_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self):
        subprocess.run(["umount", self.path], check=True)

    def sync(self):
        subprocess.run(["sync", "-f", self.path], check=False, stderr=subprocess.DEVNULL)


class Boots:
    """Shows imgbuild another boot id after each power loss."""

    def __init__(self, folder):
        self.file = folder / "boot_id"
        self.count = 0
        self.next()
        subprocess.run(["mount", "--bind", self.file, "/proc/sys/kernel/random/boot_id"], check=True)

    def next(self):
        self.count += 1
        self.file.write_text(f"00000000-0000-4000-8000-{self.count:012d}\n")

    @staticmethod
    def close():
        subprocess.run(["umount", "/proc/sys/kernel/random/boot_id"], check=False)


def power_losses(w, options, seed):
    chance = random.Random(SEED * 100 + seed)
    context = w.folder("context", {"Dockerfile": DOCKERFILE, **{f"src/f{i}": f"{i}\n" * 20_000 for i in range(6)}})
    arguments = ["--progress=json", "--source-date-epoch=1000000000", "-t", "result"]
    w.busybox()
    base = w.path / "base-store"
    subprocess.run(["cp", "-a", w.store, base], check=True)
    tar = w.path / "right.tar"
    begin = time.monotonic()
    right = w.run("build", *arguments, "-o", tar, context).out
    length = time.monotonic() - begin
    disk = Disk(w.path, options)
    boots = Boots(w.path)
    try:
        w.store = disk.path / "store"
        for number in range(ROUNDS):
            what = f"power loss {number + 1}"
            shutil.rmtree(w.store, ignore_errors=True)
            subprocess.run(["cp", "-a", base, w.store], check=True)
            disk.sync()
            build = Running(w, context, *arguments, "-o", w.path / "lost.tar")
            # Something reaches the disk in between, as it would by itself after some seconds.
            synced_at, lost_at = sorted(chance.random() * length * 1.3 for _ in range(2))
            time.sleep(synced_at)
            disk.sync()
            time.sleep(lost_at - synced_at)
            disk.lose_power()
            build.process.communicate()
            if build.process.returncode < 0 or build.process.returncode >= 128:
                raise AssertionError(f"{what}: the build died with {build.process.returncode}")
            disk.unmount()
            disk.mount()
            boots.next()
            out = w.path / "next.tar"
            equal(w.run("build", *arguments, "-o", out, context).out, right, f"{what}: digest of the next build")
            equal(out.read_bytes() == tar.read_bytes(), True, f"{what}: the next archive is the right one")
            equal(unfinished(w.store), [], f"{what}: unfinished things")
    finally:
        boots.close()
        disk.unmount()


@test
def FLT_10_power_loss_on_a_disk_with_ordered_data(w):
    power_losses(w, [], 1)


@test
def FLT_10_power_loss_on_a_disk_that_forgets_data_first(w):
    power_losses(w, ["data=writeback", "noauto_da_alloc"], 2)


@test
def FLT_9_a_disk_that_dies_during_a_command_fails_the_build(w):
    disk = Disk(w.path, [])
    try:
        w.store = disk.path / "store"
        w.busybox()
        context = w.folder("context", {"Dockerfile": "FROM busybox\n" + counting("a", "sleep 2; echo x > /x")})
        build = Running(w, context)
        wait_until(lambda: counted(w, "a") == 1, "the command runs")
        disk.lose_power()
        _, err = build.process.communicate(timeout=60)
        equal(build.process.returncode in range(1, 10), True, f"exit code {build.process.returncode}")
        contains(err.decode(), "error:")
    finally:
        disk.unmount()


@test
def FLT_29_a_volatile_overlay_of_a_killed_build_is_thrown_away(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\n" + counting("a", "echo half > /half; test $(wc -l < /count/a) -gt 1 || sleep 600")})
    build = Running(w, context)
    wait_until(lambda: counted(w, "a") == 1, "the command runs")
    build.process.kill()
    build.process.wait()
    marks = list((w.store / "work").glob("**/incompat/volatile"))
    equal(len(marks), 1, "marks of a volatile overlay")
    Running(w, context).wait()
    Running(w, context).wait()
    equal(unfinished(w.store), [], "unfinished things")


def as_if_dead(w, name):
    (w.store / "work").mkdir(parents=True, exist_ok=True)
    left = w.store / "work" / f"{name}-0123456789abcdef"
    (left / "deep" / "deeper").mkdir(parents=True)
    (left / "deep" / "file").write_text("left behind")
    os.chmod(left / "deep", 0)
    return left


@test
def STO_30_what_the_dead_left_is_swept_by_the_next_start_without_run(w):
    w.run("build", w.folder("context", {"Dockerfile": "FROM scratch\nLABEL a=b\n"}))
    left = as_if_dead(w, "feedfacefeedface")
    os.symlink("/etc/passwd", w.store / "work" / "feedfacefeedface-link")
    w.run("build", w.folder("context", {"Dockerfile": "FROM scratch\nLABEL a=b\n"}))
    equal((left.exists(), pathlib.Path("/etc/passwd").exists(), listing(w.store / "work")), (False, True, []), "what is left")


@test
def FLT_11_the_clock_jumps_in_the_middle(w):
    need_root()
    preload = os.environ.get("FAULT_PRELOAD", "")
    if not preload:
        skip("FAULT_PRELOAD does not name the library that moves the clock")
    w.busybox()
    context = w.folder("context", {"Dockerfile": DOCKERFILE, **{f"src/f{i}": f"{i}\n" * 1000 for i in range(6)}})
    right = w.run("build", "--source-date-epoch=1000000000", context).out
    for jump in (-86_400, 10 * 365 * 86_400):
        for no_cache in ([], ["--no-cache"]):
            out = w.run("build", "--source-date-epoch=1000000000", *no_cache, context,
                        env={"LD_PRELOAD": preload, "FAULT_CLOCK": str(jump), "FAULT_CLOCK_AFTER": "2"}).out
            equal(out, right, f"digest when the clock jumps by {jump} s")
    equal(w.build(context, "--source-date-epoch=1000000000").ran, [], "steps after the clock was right again")
    equal(corrupt_blobs(w.store) + unfinished(w.store), [], "corrupt or unfinished")


@test
def FLT_20_a_reader_that_leaves_ends_the_build_with_an_error(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY data /\n", "data": os.urandom(3_000_000)})
    for arguments in (["-o", "-"], ["-o", "type=oci,dest=-"]):
        process = subprocess.Popen([PROGRAM, "build", *arguments, str(context)], env={**w.environment, "IMGBUILD_ROOT": str(w.store)},
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(100)
        process.stdout.close()
        err = process.stderr.read().decode()
        equal(process.wait(timeout=60), 7, f"exit code: {err}")
        contains(err, "error:")


@test
def FLT_20_results_that_cannot_be_written_are_errors(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nLABEL a=b\n"})
    environment = {**w.environment, "IMGBUILD_ROOT": str(w.store)}
    for arguments in (["-q"], [], ["-o", "-"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "build", *arguments, str(context)], env=environment, stdout=full, stderr=subprocess.PIPE, check=False)
        equal(done.returncode, 7, f"exit code of {arguments} into a full device: {done.stderr.decode()}")
        contains(done.stderr.decode(), "standard output")


@test
def FLT_20_progress_that_nobody_reads_does_not_fail_the_build(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done\n"})
    process = subprocess.Popen([PROGRAM, "build", str(context)], env={**w.environment, "IMGBUILD_ROOT": str(w.store)},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stderr.close()
    out = process.stdout.read()
    equal((process.wait(timeout=60), out[:7]), (0, b"sha256:"), "exit code and digest")


def in_private_mounts(w, script, *arguments):
    """Runs imgbuild after a shell script changed the host as this process sees it."""
    need_private_mounts()
    command = f"{script}\nexec {PROGRAM} build {' '.join(map(str, arguments))}"
    return subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", command], capture_output=True, check=False,
                          env={**w.environment, "IMGBUILD_ROOT": str(w.store)}, timeout=120)


@test
def FLT_25_odd_hosts_get_a_clear_error_and_no_damage(w):
    need_private_mounts()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN echo x > /dev/null && touch /x\n"})
    (w.path / "fake-null").write_text("precious")
    empty = w.folder("empty", {})
    for what, script, word in (("/dev/null is a file", f"mount --bind {w.path}/fake-null /dev/null", "/dev/null"),
                               ("there is no /proc", "umount -l /proc", ""),
                               ("/tmp is read-only", f"mount --bind {empty} /mnt; mount -t tmpfs -o ro none /mnt", None)):
        done = in_private_mounts(w, script, context)
        err = done.stderr.decode()
        if word is None:
            equal(done.returncode, 0, f"exit code when {what}: {err}")
            continue
        equal(done.returncode in range(1, 10), True, f"exit code {done.returncode} when {what}: {err}")
        contains(err, "error:")
        contains(err, word)
    equal((w.path / "fake-null").read_text(), "precious", "the file in place of /dev/null")
    Running(w, context).wait()
    equal(unfinished(w.store), [], "unfinished things")


@test
def FLT_26_a_store_that_is_removed_meanwhile_is_an_error_and_is_not_made_again(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\n" + counting("a", "sleep 2; echo x > /x") + "COPY Dockerfile /d\n"})
    build = Running(w, context)
    wait_until(lambda: counted(w, "a") == 1, "the command runs")
    shutil.rmtree(w.store, ignore_errors=True)
    subprocess.run(["rm", "-rf", w.store], check=False, stderr=subprocess.DEVNULL)
    _, err = build.process.communicate(timeout=60)
    equal(build.process.returncode in range(1, 10), True, f"exit code {build.process.returncode}: {err.decode()}")
    contains(err.decode(), "error:")
    equal(w.store.exists(), False, "the store is there again")


if __name__ == "__main__":
    enter_private_mounts()
    run()
