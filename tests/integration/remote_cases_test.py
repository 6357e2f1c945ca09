"""testdata/cases/remote.json: ADD of URLs and git repositories, from a server on loopback."""
import atexit
import shutil
import tempfile
import time

import harness
from case_files import Image, check_refused, check_tree, load, make_context
from fixture_server import Fixture
from harness import equal, need, need_root, run

DATA = load("remote")
_fixture = []


def fixture():
    """The server, started for the first case and shared by all: it only answers."""
    if not _fixture:
        need("git")
        folder = tempfile.mkdtemp(prefix="imgbuild-test-remote-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _fixture.append(Fixture(folder, DATA["fixture"]))
        atexit.register(_fixture[0].close)
    return _fixture[0]


def run_case(case):
    def body(w):
        need_root()
        url = fixture().url
        context = make_context(w.path / "context", DATA["fixture"]["context"])
        dockerfile = w.path / "Dockerfile"
        dockerfile.write_text(case["dockerfile"].replace("@", url))
        if "error" in case:
            check_refused(w.build(context, "-f", dockerfile, ok=False))
            return
        archive = w.path / "out.tar"
        begin = time.time()
        w.build(context, "-f", dockerfile, "-o", f"type=oci,dest={archive}")
        image = Image(archive)
        check_tree(case["rootfs"], image.rootfs(), begin, time.time())
        equal([entry["created_by"].replace(url, "@") for entry in image.config["history"]], case["createdBy"], "created_by")
    body.__name__ = case["id"]
    return body


harness._tests.extend(run_case(case) for case in DATA["cases"])

if __name__ == "__main__":
    run()
