"""testdata/cases/copy.json: what COPY, ADD and WORKDIR leave in an image, read from the archive the program wrote."""
import time

import harness
from case_files import BusyboxStore, Image, check_refused, check_tree, load, make_context
from harness import equal, need_root, run

DATA = load("copy")
BASES = BusyboxStore()


def expected_layers(case):
    """A whiteout-like member of an archive deletes nothing; ours has no such entry (docs/known-differences.md)."""
    return [[name for name in layer if "/.wh." not in name] for layer in case["layers"]]


def run_case(case):
    def body(w):
        need_root()   # owners and file times of contexts are part of the cases
        if "busybox" in case["dockerfile"]:
            BASES.copy_to(w)
        context = make_context(w.path / "context", case["context"])
        dockerfile = w.path / "Dockerfile"
        dockerfile.write_text(case["dockerfile"])
        if "dockerfileIgnore" in case:
            (w.path / "Dockerfile.dockerignore").write_text(case["dockerfileIgnore"])
        flags = ["-f", dockerfile]
        for name, entries in case.get("namedContexts", {}).items():
            flags += ["--build-context", f"{name}={make_context(w.path / ('named-' + name), entries)}"]
        if "error" in case:
            check_refused(w.build(context, *flags, ok=False))
            return
        archive = w.path / "out.tar"
        # What is copied from the base keeps the time it got there.
        begin = BASES.begin if "--from=busybox" in case["dockerfile"] else time.time()
        w.build(context, *flags, "-o", f"type=oci,dest={archive}")
        image = Image(archive)
        check_tree(case["rootfs"], image.rootfs(), begin, time.time())
        equal(image.layer_names(), expected_layers(case), "layers")
        equal([entry["created_by"] for entry in image.config.get("history", [])], case["createdBy"], "created_by")
        equal(image.config["config"].get("WorkingDir", "/"), case.get("workdir", "/"), "WorkingDir")
    body.__name__ = case["id"]
    return body


harness._tests.extend(run_case(case) for case in DATA["cases"])

if __name__ == "__main__":
    run()
