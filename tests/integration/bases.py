"""Base images for the tests, made of this machine's own packages, once per build folder."""
import glob
import os
import pathlib
import shutil
import subprocess

from harness import PROGRAM, command, need, need_root, skip

CACHE = pathlib.Path(os.environ.get("IMGBUILD_TEST_CACHE", str(pathlib.Path(PROGRAM).resolve().parents[1] / "test-cache")))


def debian_tar():
    """A Debian root file system as a tar, with the sources and the apt configuration of this machine."""
    need_root()
    tool = need("mmdebstrap")
    CACHE.mkdir(parents=True, exist_ok=True)
    archive = CACHE / "debian.tar"
    if archive.exists():
        return archive
    sources = sorted(glob.glob("/etc/apt/sources.list.d/*.sources")) + sorted(glob.glob("/etc/apt/sources.list"))
    hooks = []
    for path in sorted(glob.glob("/etc/apt/apt.conf.d/*")):
        text = pathlib.Path(path).read_text(errors="replace")
        if any(word in text for word in ("Proxy", "Check-Valid-Until", "Check-Date")):
            hooks.append(f"--customize-hook=copy-in {path} /etc/apt/apt.conf.d")
    partial = CACHE / "debian.tar.part"
    done = subprocess.run([tool, "--quiet", "--format=tar", "--variant=apt", "--aptopt=Acquire::Check-Valid-Until \"false\"", *hooks,
                           "bookworm", str(partial), *sources], capture_output=True, check=False, timeout=600)
    if done.returncode != 0:
        partial.unlink(missing_ok=True)
        skip("mmdebstrap cannot make a Debian root here: " + done.stderr.decode(errors="replace").strip().splitlines()[-1])
    partial.rename(archive)
    return archive


def debian_base(workspace):
    """Makes the image debian:latest in the workspace's store out of debian_tar(), and gives an OCI archive of it."""
    archive = CACHE / "debian-image.tar"
    tar = debian_tar()
    if not archive.exists():
        context = workspace.folder("debian-base", {"Dockerfile": "FROM scratch\nADD debian.tar /\nCMD [\"bash\"]\n"})
        subprocess.run(["cp", "--reflink=auto", str(tar), str(context / "debian.tar")], check=True)
        partial = CACHE / "debian-image.tar.part"
        workspace.run("build", "--progress=quiet", "-t", "debian", "-o", f"type=docker,dest={partial}", context)
        partial.rename(archive)
    workspace.run("load", "-i", archive)
    return archive


def client_base(w, *programs, name="client"):
    """An image of busybox and these programs of the machine with their shared libraries; the store has busybox already."""
    files = set()
    for program in programs:
        path = need(program)
        files.add(path)
        for line in command("ldd", path, ok=False).stdout.decode().splitlines():
            for word in line.split():
                if word.startswith("/"):
                    files.add(word)
    context = w.path / f"{name}-base"
    for path in files:
        target = context / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(path), target)
    (context / "Dockerfile").write_text("FROM busybox\nCOPY . /\nRUN rm /Dockerfile\n")
    w.run("build", "--progress=quiet", "-t", name, context)
