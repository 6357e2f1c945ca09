"""testdata/cases/config.json: config, history and layers of images the program wrote, and what RUN sees (`probe`)."""
import atexit
import pathlib
import shutil
import tempfile

import harness
from case_files import Image, check_refused, flags_of, load, make_context, write_image
from harness import equal, need_root, run

DATA = load("config")
_base = []


def add_base(w):
    """The base image of the cases: one layer, Cmd ["sh"], one history entry and nothing else in its config."""
    if not _base:
        w.busybox()
        folder = pathlib.Path(tempfile.mkdtemp(prefix="imgbuild-test-base-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        dockerfile = folder / "Dockerfile"
        dockerfile.write_text("FROM busybox\n")
        w.run("build", "--progress=quiet", "-f", dockerfile, "-o", f"type=tar,dest={folder}/rootfs.tar", folder)
        write_image(folder / "base.tar", (folder / "rootfs.tar").read_bytes(),
                    {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}}, "docker.io/library/busybox:latest")
        _base.append(folder / "base.tar")
        shutil.rmtree(w.store)
    w.run("load", "-i", _base[0])


def run_case(case):
    def body(w):
        need_root()
        if "busybox" in case["dockerfile"]:
            add_base(w)
        context = make_context(w.path / "context", case.get("context", [{"path": "f", "content": "f"}]))
        flags = flags_of(case.get("options"))
        if "-f" in flags:
            flags[flags.index("-f") + 1] = context / flags[flags.index("-f") + 1]
            (context / "Dockerfile").write_text(case["dockerfile"])
        else:
            dockerfile = w.path / "Dockerfile"
            dockerfile.write_text(case["dockerfile"])
            flags += ["-f", dockerfile]
        if "error" in case:
            check_refused(w.build(context, *flags, ok=False))
            return
        archive = w.path / "out.tar"
        w.build(context, *flags, "-o", f"type=oci,dest={archive}")
        image = Image(archive)
        for key in ("architecture", "os", "variant", "author"):
            equal(image.config.get(key, ""), case["image"].get(key, ""), key)
        equal(image.config.get("config", {}), case["config"], "config")
        history = [{key: value for key, value in entry.items() if key != "created"} for entry in image.config.get("history", [])]
        equal(history[case.get("baseHistoryEntries", 0):], case["history"], "history")
        equal(len(image.manifest["layers"]), case["layers"], "layers")
        equal(len(image.config["rootfs"]["diff_ids"]), case["layers"], "diff IDs")
        if "probe" in case:
            found = image.read(case["probe"]["path"])
            if found is None:
                raise AssertionError(f"{case['probe']['path']} is not in the image")
            equal(found.decode(errors="replace"), case["probe"]["content"], "probe " + case["probe"]["path"])
    body.__name__ = case["id"]
    return body


harness._tests.extend(run_case(case) for case in DATA["cases"])

if __name__ == "__main__":
    run()
