"""What every integration test needs: the program, a private store, real consumers, and an honest summary.

A test is a function that takes a Sandbox (see below) and is marked with @test. It fails by an exception, and says that
it cannot run with skip("reason"). run() executes all tests of a file and ends with "N passed, N failed, N skipped".
"""
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROJECTS = REPOSITORY / "testdata" / "projects"
PROGRAM = os.environ.get("IMGBUILD", str(REPOSITORY / "build" / "cli" / "imgbuild"))
BUSYBOX = shutil.which("busybox") or "/bin/busybox"

_tests = []


class Skipped(Exception):
    """This test cannot run here; the message says why."""


def skip(reason):
    raise Skipped(reason)


def test(function):
    _tests.append(function)
    return function


def need(program):
    """The absolute path of a program, or a skip."""
    path = shutil.which(program)
    if not path:
        skip(f"{program} is not installed")
    return path


def need_root():
    if os.geteuid() != 0:
        skip("needs root")


class Result:
    def __init__(self, done):
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Workspace:
    """A directory, a store and the program. Everything made here goes away with it."""

    def __init__(self, base=None):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="imgbuild-test-", dir=base))
        os.chmod(self.path, 0o755)
        self.store = self.path / "store"
        self.prefix = []
        self.program = PROGRAM
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def close(self):
        subprocess.run(["chmod", "-R", "u+rwX", str(self.path)], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.path, ignore_errors=True)

    def run(self, *arguments, ok=True, stdin=None, env=None, cwd=None, timeout=900):
        """Runs imgbuild on this store. `ok`: True demands success, False failure, None accepts both."""
        command = [*self.prefix, str(self.program), *map(str, arguments)]
        environment = {**self.environment, "IMGBUILD_ROOT": str(self.store), **(env or {})}
        done = subprocess.run(command, capture_output=True, env=environment, cwd=cwd or self.path, timeout=timeout,
                              input=stdin, check=False)
        done.stdout = done.stdout.decode(errors="replace")
        done.stderr = done.stderr.decode(errors="replace")
        result = Result(done)
        if ok is True and result.code != 0:
            raise AssertionError(f"{' '.join(command)} failed: {result!r}")
        if ok is False and result.code == 0:
            raise AssertionError(f"{' '.join(command)} did not fail: {result!r}")
        return result

    def build(self, context, *arguments, **options):
        """A build with JSON events; the result carries `steps`: [(label, how)]."""
        result = self.run("build", "--progress=json", *arguments, context, **options)
        result.events = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
        labels = {e["step"]: e["label"] for e in result.events if e["event"] == "step_started"}
        result.steps = [(labels[e["step"]], e["how"]) for e in result.events if e["event"] == "step_finished"]
        result.ran = [label for label, how in result.steps if how == "ran"]
        result.warnings = [e for e in result.events if e["event"] == "warning"]
        return result

    def folder(self, name, files):
        """A directory with these files: {path: text or bytes}."""
        top = self.path / name
        for path, content in files.items():
            target = top / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
        top.mkdir(exist_ok=True)
        return top

    def busybox(self):
        """Makes the busybox base image in this store."""
        context = self.folder("busybox-base", {"busybox": pathlib.Path(BUSYBOX).read_bytes()})
        os.chmod(context / "busybox", 0o755)
        self.run("build", "--progress=quiet", "-f", REPOSITORY / "testdata/bases/busybox/Dockerfile", "-t", "busybox", context)


def command(*arguments, ok=True, timeout=900, **options):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, timeout=timeout, check=False, **options)
    if ok and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, arguments))} failed: {done.returncode}\n"
                             f"{done.stdout.decode(errors='replace')}\n{done.stderr.decode(errors='replace')}")
    return done


def equal(actual, expected, what="value"):
    if actual != expected:
        raise AssertionError(f"{what}: expected {str(expected)[:2000]!r}, got {str(actual)[:2000]!r}"
                             if max(len(str(expected)), len(str(actual))) > 2000
                             else f"{what}: expected {expected!r}, got {actual!r}")


def contains(text, part):
    if part not in text:
        raise AssertionError(f"{part!r} is missing in:\n{text}")


def tree_of(root):
    """What a directory tree is: {path: (type, mode, uid, gid, content digest or link target)}, root left out."""
    entries = {}
    root = pathlib.Path(root)
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = pathlib.Path(directory, name)
            info = os.lstat(path)
            relative = str(path.relative_to(root))
            kind = {0o040000: "dir", 0o100000: "file", 0o120000: "link", 0o010000: "fifo",
                    0o020000: "char", 0o060000: "block"}[info.st_mode & 0o170000]
            detail = ""
            if kind == "file":
                detail = hashlib.sha256(path.read_bytes()).hexdigest()
            elif kind == "link":
                detail = os.readlink(path)
            elif kind in ("char", "block"):
                detail = str(info.st_rdev)
            mode = "" if kind == "link" else oct(info.st_mode & 0o7777)
            entries[relative] = (kind, mode, info.st_uid, info.st_gid, detail)
    return entries


def layout_of(archive, into):
    """Unpacks an OCI archive and gives (index, manifest, config, directory)."""
    with tarfile.open(archive) as tar:
        tar.extractall(into)
    into = pathlib.Path(into)
    index = json.loads((into / "index.json").read_text())

    def blob(descriptor):
        return json.loads((into / "blobs" / descriptor["digest"].replace(":", "/")).read_text())

    manifest = blob(index["manifests"][0])
    return index, manifest, blob(manifest["config"]), into


def run():
    """Runs the tests of the calling file; words on the command line select by name."""
    wanted = sys.argv[1:]
    passed = failed = skipped = 0
    for function in _tests:
        if function.__module__ != "__main__":
            continue  # of a file that this one borrows from
        if wanted and not any(word in function.__name__ for word in wanted):
            continue
        workspace = Workspace()
        begin = time.monotonic()
        try:
            function(workspace)
            passed += 1
            print(f"ok   {function.__name__} ({time.monotonic() - begin:.1f}s)", flush=True)
        except Skipped as reason:
            skipped += 1
            print(f"skip {function.__name__}: {reason}", flush=True)
        except Exception:  # any failure of one test is reported, and the next one runs
            failed += 1
            print(f"FAIL {function.__name__} ({time.monotonic() - begin:.1f}s)", flush=True)
            traceback.print_exc(file=sys.stdout)
        finally:
            with contextlib.suppress(OSError):
                workspace.close()
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    sys.exit(1 if failed else 0 if passed else 77)
