"""Runs the cases of testdata/cases through the program itself: contexts, options, and what an image holds."""
import atexit
import base64
import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import pathlib
import shutil
import stat
import subprocess
import tarfile
import tempfile
import time

from harness import REPOSITORY, need

T0 = 1000000000
ARCHIVE_TIME = 900000000


def load(name):
    return json.loads((REPOSITORY / "testdata" / "cases" / f"{name}.json").read_text())


def make_archive(entries, compression):
    """The tar a case describes: GNU format, owner 0:0 and an mtime of its own unless it says otherwise."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in entries:
            kind = entry.get("type", "file")
            info = tarfile.TarInfo(entry["path"])
            info.mtime = entry.get("mtime", ARCHIVE_TIME)
            info.uid, info.gid = entry.get("uid", 0), entry.get("gid", 0)
            info.mode = int(entry.get("mode", "0755" if kind == "dir" else "0644"), 8)
            info.type = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE,
                         "hardlink": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE, "char": tarfile.CHRTYPE,
                         "block": tarfile.BLKTYPE}[kind]
            info.linkname = entry.get("target", "")
            content = content_of(entry)
            info.size = len(content) if kind == "file" else 0
            tar.addfile(info, io.BytesIO(content) if kind == "file" else None)
    data = raw.getvalue()
    if compression == "gzip":
        return gzip.compress(data, mtime=0)
    if compression == "bzip2":
        return bz2.compress(data)
    if compression == "xz":
        return lzma.compress(data)
    if compression == "zstd":
        return subprocess.run([need("zstd"), "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


def content_of(entry):
    if "b64" in entry:
        return base64.b64decode(entry["b64"])
    return entry.get("content", "").encode()


def make_context(folder, entries):
    """Writes a case's context; every time is T0 unless the case says otherwise."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    times = {}
    for entry in entries:
        path = folder / entry["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = entry.get("type", "file")
        if kind == "dir":
            path.mkdir(exist_ok=True)
        elif kind == "symlink":
            path.symlink_to(entry["target"])
        elif kind == "hardlink":
            os.link(folder / entry["target"], path)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "archive":
            path.write_bytes(make_archive(entry["archive"], entry.get("compression", "none")))
        else:
            path.write_bytes(content_of(entry))
        for name, value in entry.get("xattrs", {}).items():
            os.setxattr(path, name, value.encode())
        if kind != "symlink" and kind != "hardlink":
            os.chmod(path, int(entry.get("mode", "0755" if kind == "dir" else "0644"), 8))
        times[path] = entry.get("mtime", T0)
    for directory, names, files in os.walk(folder, topdown=False):
        for name in files + names:
            path = pathlib.Path(directory, name)
            time = times.get(path, T0)
            os.utime(path, (time, time), follow_symlinks=False)
            if path.is_dir() and not path.is_symlink() and path not in times:
                os.chmod(path, 0o755)
    return folder


def flags_of(options):
    """The command line for a case's front-end options."""
    flags = []
    for option in options or []:
        key, _, value = option.partition("=")
        if key.startswith("build-arg:"):
            flags += ["--build-arg", f"{key[10:]}={value}"]
        elif key.startswith("label:"):
            flags += ["--label", f"{key[6:]}={value}"]
        elif key == "target":
            flags += ["--target", value]
        elif key == "platform":
            flags += ["--platform", value]
        elif key == "filename":
            flags += ["-f", value]
        elif key == "hostname":
            flags += ["--hostname", value]
        elif key == "no-cache":
            flags += ["--no-cache-filter", value] if value else ["--no-cache"]
        elif key == "add-hosts":
            for pair in value.split(","):
                flags += ["--add-host", pair]
        elif key == "force-network-mode":
            flags += ["--network", "default" if value == "sandbox" else value]
        elif key == "shm-size":
            flags += ["--shm-size", value]
        elif key == "ulimit":
            flags += ["--ulimit", value]
        elif key == "memory":
            flags += ["--memory", value]
        else:
            raise ValueError(f"no flag for option {option}")
    return flags


class Image:
    """An image in an OCI archive, read without any help of ours."""

    def __init__(self, archive):
        with tarfile.open(archive) as tar:
            self.members = {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}
        index = json.loads(self.members["index.json"])
        self.manifest = json.loads(self.blob(index["manifests"][0]["digest"]))
        self.config = json.loads(self.blob(self.manifest["config"]["digest"]))

    def blob(self, digest):
        return self.members["blobs/" + digest.replace(":", "/")]

    def layers(self):
        for descriptor in self.manifest["layers"]:
            data = self.blob(descriptor["digest"])
            if descriptor["mediaType"].endswith("+gzip"):
                data = gzip.decompress(data)
            yield tarfile.open(fileobj=io.BytesIO(data))

    def layer_names(self):
        """Per layer the entries in archive order, as the cases write them: absolute, directories with a slash."""
        return [["/" + m.name + ("/" if m.isdir() else "") for m in tar.getmembers()] for tar in self.layers()]

    def read(self, path):
        """The bytes of one file of the merged tree; None when there is none."""
        wanted = path.lstrip("/")
        found = None
        for tar in self.layers():
            parent, _, name = wanted.rpartition("/")
            for member in tar.getmembers():
                if member.name == (parent + "/" if parent else "") + ".wh." + name:
                    found = None
                if member.name == wanted:
                    found = None if not (member.isfile() or member.islnk()) else tar.extractfile(member).read()
        return found

    def rootfs(self):
        """The merged tree as the cases describe one: {path: entry}."""
        tree = {}
        for tar in self.layers():
            for member in tar.getmembers():
                parent, _, name = member.name.rpartition("/")
                if name.startswith(".wh."):
                    gone = (parent + "/" if parent else "") + name[4:]
                    for path in [p for p in tree if p == gone or p.startswith(gone + "/")]:
                        del tree[path]
            for member in tar.getmembers():
                if member.name.rpartition("/")[2].startswith(".wh."):
                    continue
                if not member.isdir():
                    for path in [p for p in tree if p.startswith(member.name + "/")]:
                        del tree[path]
                tree[member.name] = self._entry(tar, member)
        return {"/" + path: entry for path, entry in sorted(tree.items())}

    @staticmethod
    def _entry(tar, member):
        kind = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink",
                tarfile.FIFOTYPE: "fifo", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block"}[member.type]
        entry = {"type": kind, "uid": member.uid, "gid": member.gid, "mtime": member.mtime}
        if kind != "symlink":
            entry["mode"] = format(stat.S_IMODE(member.mode), "04o")
        if kind == "file":
            entry["content"] = tar.extractfile(member).read()
        if kind == "symlink":
            entry["target"] = member.linkname
        if kind == "hardlink":
            entry["target"] = "/" + member.linkname
        return entry


def check_tree(expected, actual, begin, end):
    """Compares a case's `rootfs` with Image.rootfs(). "build" as a time means between begin and end of the build."""
    wanted = {entry["path"]: entry for entry in expected}
    differences = [f"missing {path}" for path in wanted if path not in actual]
    differences += [f"not expected: {path}" for path in actual if path not in wanted]
    for path in sorted(set(wanted) & set(actual)):
        found = dict(actual[path])
        found["mtime"] = int(found["mtime"])
        for key, value in wanted[path].items():
            if key == "path":
                continue
            if key == "mtime" and value == "build":
                same = int(begin - 0.02) <= found["mtime"] <= int(end) + 1   # the kernel stamps with a coarser clock
            elif key == "content":
                same = found.get("content") == value.encode()
            elif key == "size":
                same = len(found.get("content", b"")) == value
            elif key == "sha256":
                same = hashlib.sha256(found.get("content", b"")).hexdigest() == value
            else:
                same = found.get(key) == value
            if not same:
                differences.append(f"{path}: {key}: expected {value!r}, got {found.get(key)!r}")
    if differences:
        raise AssertionError("the tree differs:\n  " + "\n  ".join(differences))


def error_core(text):
    """What users and scripts recognise an error of the reference by: without prefixes, positions and suggestions."""
    for prefix in ("failed to solve: ", "failed to compute cache key: ", "failed to calculate checksum of ref <ref>: "):
        text = text.removeprefix(prefix)
    return text


def check_refused(result):
    """A build that must fail has failed in an orderly way: an exit code of ours and a message."""
    if result.code not in range(1, 10):
        raise AssertionError(f"unexpected exit code: {result!r}")
    if not any(event["event"] in ("build_failed", "error", "build_finished") for event in result.events) and "error" not in result.err:
        raise AssertionError(f"no error is shown: {result!r}")


def write_image(path, rootfs, config, name):
    """An OCI archive with one layer and the config a test wants, under a full name."""
    members = {}

    def blob(data, media_type, **more):
        digest = hashlib.sha256(data).hexdigest()
        members["blobs/sha256/" + digest] = data
        return {"mediaType": "application/vnd.oci.image." + media_type, "digest": "sha256:" + digest, "size": len(data), **more}

    config = {**config, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(rootfs).hexdigest()]},
              "history": [{"created_by": "base"}]}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": blob(json.dumps(config).encode(), "config.v1+json"),
                "layers": [blob(gzip.compress(rootfs, mtime=0), "layer.v1.tar+gzip")]}
    top = blob(json.dumps(manifest).encode(), "manifest.v1+json", annotations={"io.containerd.image.name": name})
    members["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [top]}).encode()
    members["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    with tarfile.open(path, "w") as tar:
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


class BusyboxStore:
    """One store with the busybox base for all cases of a file; every case works on a copy of its own."""

    def __init__(self):
        self.path = None
        self.begin = None   # when the base was begun: its files are not older

    def copy_to(self, workspace):
        if self.path is None:
            self.begin = time.time()
            workspace.busybox()
            self.path = tempfile.mkdtemp(prefix="imgbuild-test-base-")
            atexit.register(shutil.rmtree, self.path, ignore_errors=True)
            subprocess.run(["cp", "-a", "--reflink=auto", str(workspace.store), self.path], check=True)
        elif not workspace.store.exists():
            subprocess.run(["cp", "-a", "--reflink=auto", self.path + "/store", str(workspace.store)], check=True)
