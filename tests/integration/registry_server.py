"""A registry on a loopback port that serves one OCI layout and misbehaves as it is told."""
import collections
import http.server
import json
import pathlib
import re
import socket
import struct
import threading
import time

INDEX = "application/vnd.oci.image.index.v1+json"


class Drop:
    """Sends this many bytes of the body, then closes the connection, with a reset if wanted."""

    def __init__(self, after, reset=False):
        self.after, self.reset = after, reset


class Stall:
    """Sends this many bytes of the body, waits, then goes on."""

    def __init__(self, after, seconds):
        self.after, self.seconds = after, seconds


class Status:
    """Answers with a status instead of the content."""

    def __init__(self, status):
        self.status = status


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, registry, *arguments):
        self.registry = registry
        super().__init__(*arguments)

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        if self.path in ("/v2", "/v2/"):
            return self.send(200, {}, b"{}")
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", self.path)
        if not match:
            return self.send(404, {}, b"{}")
        if match[2] == "manifests":
            found = self.registry.manifest(match[3])
            if not found:
                return self.send(404, {}, b"{}")
            kind, digest, body = found
            return self.send(200, {"Content-Type": kind, "Docker-Content-Digest": digest}, body)
        path = self.registry.layout / "blobs" / match[3].replace(":", "/")
        if not path.exists():
            return self.send(404, {}, b"{}")
        return self.blob(match[3], path.read_bytes())

    def blob(self, digest, body):
        self.registry.requests[digest] += 1
        fault = self.registry.next_fault(digest)
        if isinstance(fault, Status):
            return self.send(fault.status, {}, b"{}")
        headers, status = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}, 200
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and self.registry.knows_ranges:
            first = int(wanted[1])
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
            body, status = body[first:], 206
            self.registry.resumed[digest] += 1
        self.send(status, headers, body, fault)

    def send(self, status, headers, body, fault=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            if isinstance(fault, Drop):
                self.wfile.write(body[:fault.after])
                self.wfile.flush()
                if fault.reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            if isinstance(fault, Stall):
                self.wfile.write(body[:fault.after])
                self.wfile.flush()
                time.sleep(fault.seconds)
                body = body[fault.after:]
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def log_message(self, *arguments):
        pass


class Registry:
    """Serves `layout` (a directory) under any repository name, its first image under any tag."""

    def __init__(self, layout):
        self.layout = pathlib.Path(layout)
        self.requests = collections.Counter()
        self.resumed = collections.Counter()
        self.knows_ranges = True
        self.faults = {}
        self.lock = threading.Lock()

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, address):
                pass

        self.server = Server(("127.0.0.1", 0), lambda *arguments: Handler(self, *arguments))
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def blob_path(self, digest):
        return self.layout / "blobs" / digest.replace(":", "/")

    def manifest(self, selector):
        if not selector.startswith("sha256:"):
            selector = json.loads((self.layout / "index.json").read_text())["manifests"][0]["digest"]
        if not self.blob_path(selector).exists():
            return None
        body = self.blob_path(selector).read_bytes()
        return json.loads(body)["mediaType"], selector, body

    def layers(self):
        """Digest and size of the layers, base first."""
        kind, _, body = self.manifest("latest")
        document = json.loads(body)
        if kind == INDEX:
            document = json.loads(self.blob_path(document["manifests"][0]["digest"]).read_bytes())
        return [(layer["digest"], layer["size"]) for layer in document["layers"]]

    def fail(self, digest, *faults):
        """What happens to the next requests for this blob, in order; then all is well."""
        self.faults[digest] = list(faults)

    def next_fault(self, digest):
        with self.lock:
            waiting = self.faults.get(digest)
            return waiting.pop(0) if waiting else None
