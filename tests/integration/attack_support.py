"""Hostile inputs, and what watches that they do no harm: raw tars, image layouts, scripted servers, a canary."""
import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import pathlib
import tarfile
import threading

from harness import need


class Canary:
    """A secret file and a writable folder outside of store and context. check() fails when either was touched or seen."""

    def __init__(self, w):
        self.w = w
        self.folder = w.path / "canary-folder"
        self.folder.mkdir()
        self.file = w.path / "canary-file"
        self.secret = f"canary-{os.urandom(8).hex()}"
        self.file.write_text(self.secret)
        self.before = self.state()

    def state(self):
        def entry(path):
            info = os.lstat(path)
            return info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns, info.st_ino
        watched = [self.file, self.folder, pathlib.Path("/"), self.w.path.parent]
        return ([entry(self.file), entry(self.folder)], sorted(os.listdir(self.folder)), self.file.read_text(),
                sorted(os.listdir("/")), [os.lstat(path).st_ino for path in watched])

    def check(self, *texts):
        after = self.state()
        if after != self.before:
            raise AssertionError(f"the canary was touched: {self.before} became {after}")
        for text in texts:
            if self.secret in (text if isinstance(text, str) else text.decode(errors="replace")):
                raise AssertionError("the canary's content was seen")


class Tar:
    """Members exactly as written here, valid or not."""

    def __init__(self):
        self.bytes = b""

    @staticmethod
    def header(name, kind=b"0", size=0, link=b"", mode=0o644, uid=0, gid=0, mtime=0, magic=b"ustar\x0000", prefix=b"", raw=None):
        def octal(value, width):
            return b"%0*o" % (width, value)
        block = bytearray(512)
        fields = [(0, name), (100, octal(mode, 7)), (108, uid if isinstance(uid, bytes) else octal(uid, 7)),
                  (116, gid if isinstance(gid, bytes) else octal(gid, 7)), (124, size if isinstance(size, bytes) else octal(size, 11)),
                  (136, mtime if isinstance(mtime, bytes) else octal(mtime, 11)), (156, kind), (157, link), (257, magic),
                  (329, b"0000000"), (337, b"0000000"), (345, prefix)]
        for at, value in fields + (raw or []):
            block[at:at + len(value)] = value
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block)

    def add(self, name, content=b"", kind=b"0", **more):
        name = name.encode() if isinstance(name, str) else name
        more.setdefault("size", len(content))
        if isinstance(more.get("link"), str):
            more["link"] = more["link"].encode()
        self.bytes += self.header(name, kind, **more) + content + b"\0" * (-len(content) % 512)
        return self

    def dir(self, name, **more):
        return self.add(name, kind=b"5", mode=0o755, **more)

    def link(self, name, target):
        return self.add(name, kind=b"2", link=target, mode=0o777)

    def hard(self, name, target):
        return self.add(name, kind=b"1", link=target)

    def pax(self, records, kind=b"x"):
        text = b""
        for key, value in records.items():
            value = value.encode() if isinstance(value, str) else value
            body = b" " + key.encode() + b"=" + value + b"\n"
            size = len(body) + 1
            while len(b"%d" % size) + len(body) != size:
                size += 1
            text += b"%d" % size + body
        return self.add("PaxHeaders/x", text, kind=kind)

    def long_name(self, kind, text):
        return self.add("././@LongLink", text.encode() + b"\0", kind=kind, magic=b"ustar  \0")

    def raw(self, data):
        self.bytes += data
        return self

    def end(self):
        return self.bytes + b"\0" * 1024


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


OCI = "application/vnd.oci.image."


class Image:
    """An image of these layers (plain tars), as blobs, a manifest and an index; every part may be bent before it is used."""

    def __init__(self, layers, config=None, layer_type=OCI + "layer.v1.tar+gzip", pack=lambda data: gzip.compress(data, 1, mtime=0)):
        self.blobs = {}
        packed = [pack(layer) for layer in layers]
        self.config = {"architecture": "amd64", "os": "linux", "config": config or {},
                       "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}}
        config_bytes = json.dumps(self.config).encode()
        self.manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                         "config": self.put(config_bytes, OCI + "config.v1+json"),
                         "layers": [self.put(data, layer_type) for data in packed]}

    def put(self, data, media_type):
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    def layout(self, folder, **index):
        """Writes an OCI layout directory."""
        folder = pathlib.Path(folder)
        (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        entry = self.put(json.dumps(self.manifest).encode(), self.manifest["mediaType"])
        entry["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [entry], **index}))
        for name, data in self.blobs.items():
            (folder / "blobs/sha256" / name.partition(":")[2]).write_bytes(data)
        return folder

    def routes(self, repository, tag="latest"):
        """What a registry answers for it: {path: (status, headers, body)}."""
        manifest = json.dumps(self.manifest).encode()
        answer = (200, {"Content-Type": self.manifest["mediaType"], "Docker-Content-Digest": digest(manifest)}, manifest)
        out = {f"/v2/{repository}/manifests/{tag}": answer, f"/v2/{repository}/manifests/{digest(manifest)}": answer}
        for name, data in self.blobs.items():
            out[f"/v2/{repository}/blobs/{name}"] = (200, {"Content-Type": "application/octet-stream"}, data)
        return out


BUSYBOX_LAYER = None


def busybox_layer():
    """A layer with a shell, below the hostile one."""
    global BUSYBOX_LAYER
    if BUSYBOX_LAYER is None:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as tar:
            for name in ("bin", "etc", "tmp"):
                info = tarfile.TarInfo(name)
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            data = pathlib.Path(need("busybox")).read_bytes()
            info = tarfile.TarInfo("bin/busybox")
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
            for name in ("sh", "cat", "ls", "find", "stat", "sort", "readlink", "mkdir", "echo", "touch", "ln", "rm", "wc", "mknod", "truncate", "true", "printf",
                         "id", "mv", "cp", "chmod", "mkfifo", "seq", "sleep", "rmdir"):
                info = tarfile.TarInfo(f"bin/{name}")
                info.type, info.linkname = tarfile.LNKTYPE, "bin/busybox"
                tar.addfile(info)
        BUSYBOX_LAYER = raw.getvalue()
    return BUSYBOX_LAYER


def build_on(w, layers, body, *options, ok=None, files=None, config=None, **more):
    """A build on a base of a busybox layer and these layers; `body` are the instructions."""
    number = len(list(w.path.glob("layout-*")))
    layout = Image([busybox_layer(), *layers], config).layout(w.path / f"layout-{number}")
    context = w.folder(f"context-{number}", {"Dockerfile": f"FROM base\n{body}\n", **(files or {})})
    return w.build(context, "--build-context", f"base=oci-layout://{layout}", *options, ok=ok, **more)


class Server:
    """HTTP on loopback. `routes`: path -> (status, headers, body) or a function of the handler. Remembers its requests."""

    def __init__(self, routes, context=None):
        self.routes = routes
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def answer(self):
                outer.requests.append((self.command, self.path, dict(self.headers)))
                found = outer.routes.get(self.path.partition("?")[0], (404, {}, b""))
                if callable(found):
                    found = found(self)
                    if found is None:
                        return
                status, headers, body = found
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    with contextlib.suppress(OSError):
                        self.wfile.write(body)

            do_GET = do_HEAD = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"{'https' if context else 'http'}://{self.host}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
