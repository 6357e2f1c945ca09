"""The example projects, built as a user would, judged by the programs that will use the images."""
import json
import os
import shutil
import subprocess
import tarfile

from bases import debian_base
from consumers import Consumers
from harness import (PROJECTS, command, contains, equal, layout_of, need, need_root, run, skip, test, tree_of)


def copy_project(workspace, name):
    target = workspace.path / name
    shutil.copytree(PROJECTS / name, target)
    return target


def unpack(workspace, archive, name):
    """The root file system of an image, as umoci unpacks it."""
    umoci = need("umoci")
    layout = workspace.path / f"{name}-layout"
    bundle = workspace.path / f"{name}-bundle"
    command(need("skopeo"), "copy", "-q", f"oci-archive:{archive}", f"oci:{layout}:x")
    command(umoci, "unpack", "--image", f"{layout}:x", bundle)
    return bundle / "rootfs"


def buildah_tree(workspace, context, bases):
    """What `buildah bud` makes of the same Dockerfile."""
    need_root()
    buildah = need("buildah")
    storage = [f"--root={workspace.path}/buildah", f"--runroot={workspace.path}/buildah-run", "--storage-driver=vfs"]
    for name, archive in bases.items():
        command(buildah, *storage, "pull", "-q", f"docker-archive:{archive}")
    done = command(buildah, *storage, "bud", "-q", "--isolation", "oci", "--runtime", "runc", "--ulimit", "nofile=1024:1024",
                   "--network", "host", "--layers=false", "--pull-never", "-t", "compare", context, ok=False, timeout=1200)
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace")
        skip("buildah cannot build here: " + (text.strip().splitlines() or ["no reason given"])[-1])
    archive = workspace.path / "buildah.tar"
    command(buildah, *storage, "push", "-q", "compare", f"oci-archive:{archive}")
    return unpack(workspace, archive, "buildah")


@test
def c_program_is_compiled_in_debian_and_runs_from_scratch(w):
    base = debian_base(w)
    context = copy_project(w, "c-program")
    archive = w.path / "primes.tar"
    first = w.build(context, "-t", "primes:v1", "-o", archive, timeout=1200)
    equal(len(first.ran), 6, "steps run")
    again = w.build(context, "-t", "primes:v1", "-o", archive, "--stats")
    equal(again.ran, [], "steps run again")
    equal(again.out, first.out, "manifest digest")
    contains(again.err, "0 bytes read")

    consumers = Consumers(w)
    consumers.inspect(archive)
    for output in consumers.run_everywhere(archive, "primes:v1", ["12"]):
        equal(output.split(), ["2", "3", "5", "7", "11"], "output of the container")

    source = context / "src" / "main.c"
    source.write_text(source.read_text() + "\n/* changes no byte of the program */\n")
    edited = w.build(context, "-t", "primes:v1", timeout=1200)
    equal([label.split("] ", 1)[1] for label in edited.ran], ["COPY src ./src", 'RUN make CFLAGS="-O2 -Wall -static"'],
          "steps after an edit that does not change the program: the copy from the stage depends on content")
    source.write_text(source.read_text().replace('"%lu\\n"', '"%lu.\\n"'))
    edited = w.build(context, "-t", "primes:v1", timeout=1200)
    equal([label.split("] ", 1)[1] for label in edited.ran],
          ["COPY src ./src", 'RUN make CFLAGS="-O2 -Wall -static"', "COPY --from=build /src/primes /primes"], "steps after an edit")

    same_trees(unpack(w, archive, "ours"), buildah_tree(w, copy_project_again(w, "c-program"), {"debian": base}))


# Logs and caches that hold the time of the build: they are there in both trees, their bytes differ.
TIMED = ("var/log/", "var/cache/ldconfig/aux-cache", "var/cache/debconf/", "var/cache/apt/", "var/lib/dpkg/", "var/lib/apt/", "etc/ssl/", "etc/.pwd.lock")


# Where buildah binds files of its own; a base without them gets empty ones in the layer.
BUILDAH_STUBS = {"etc/hosts", "etc/resolv.conf", "run/.containerenv"}


def same_trees(ours, theirs):
    """Paths, types, modes, owners, contents and link targets are equal."""
    mine, other = tree_of(ours), tree_of(theirs)
    equal(sorted(set(mine) - set(other)), [], "paths only we have")
    equal(sorted(set(other) - set(mine) - BUILDAH_STUBS), [], "paths only the other builder has")
    for path, entry in mine.items():
        length = 4 if path.startswith(TIMED) else 5
        equal(entry[:length], other[path][:length], f"entry {path}")


def copy_project_again(workspace, name):
    target = workspace.path / "again" / name
    shutil.copytree(PROJECTS / name, target)
    return target


@test
def python_service_keeps_its_dependencies_when_a_source_changes(w):
    base = debian_base(w)
    context = copy_project(w, "python-service")
    (context / "logs").mkdir()
    (context / "logs" / "noise").write_text("x")
    archive = w.path / "service.tar"
    w.build(context, "-t", "service", "-o", archive, timeout=1200)
    (context / "app" / "counter.py").write_text((context / "app" / "counter.py").read_text() + "\n# a comment\n")
    edited = w.build(context, "-t", "service", timeout=1200)
    equal([label.split("] ", 1)[1] for label in edited.ran],
          ["COPY . .", "RUN python3 -m compileall -q --invalidation-mode unchecked-hash app"], "steps after an edit")
    (context / "NOTES.md").write_text("changed, but ignored")
    equal(w.build(context, "-t", "service").ran, [], "steps after a change the ignore file hides")

    root = unpack(w, archive, "service")
    for absent in ("srv/NOTES.md", "srv/logs", "srv/.git"):
        if (root / absent).exists():
            raise AssertionError(f"{absent} was ignored and is in the image")
    for output in Consumers(w).run_everywhere(archive, "service", []):
        equal(json.loads(output), {"count": 1}, "output of the container")
    same_trees(root, buildah_tree(w, copy_project_again(w, "python-service"), {"debian": base}))


@test
def four_stages_run_side_by_side_and_meet(w):
    w.busybox()
    archive = w.path / "compass.tar"
    result = w.build(PROJECTS / "four-stages", "-t", "compass", "-o", archive)
    labels = " ".join(label for label, _ in result.steps)
    if "unused" in labels or "nobody needs" in labels:
        raise AssertionError("an unreachable stage was built")
    sleeping = [e for e in result.events if e["event"] == "step_started" and "sleep" in e["label"]]
    equal(len(sleeping), 4, "stages")
    # All four have started before the first of them ended: the order of events says so, no clock does.
    first_end = next(i for i, e in enumerate(result.events)
                     if e["event"] == "step_finished" and e["step"] in {s["step"] for s in sleeping})
    started = [e for e in result.events[:first_end] if e["event"] == "step_started" and "sleep" in e["label"]]
    equal(len(started), 4, "stages started before one had ended")
    for output in Consumers(w).run_everywhere(archive, "compass", []):
        equal(output.split(), ["north", "east", "south", "west"], "output of the container")
    same_trees(unpack(w, archive, "ours"), buildah_tree(w, PROJECTS / "four-stages", {"busybox": busybox_archive(w)}))


def busybox_archive(w):
    """The busybox base of this store as an archive other builders can load."""
    archive = w.path / "busybox.tar"
    w.run("build", "-q", "-t", "busybox", "-o", archive, w.folder("busybox-again", {"Dockerfile": "FROM busybox\n"}))
    return archive


@test
def hello_equals_what_buildah_makes(w):
    need_root()
    w.busybox()
    base = busybox_archive(w)
    archive = w.path / "hello.tar"
    w.build(PROJECTS / "hello", "-t", "hello", "-o", archive)
    same_trees(unpack(w, archive, "ours"), buildah_tree(w, PROJECTS / "hello", {"busybox": base}))


if __name__ == "__main__":
    run()
