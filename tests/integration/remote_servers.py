"""Servers of the kinds builds fetch from, each on a loopback port: smart HTTP and anonymous git, ssh, and HTTP that revalidates."""
import contextlib
import gzip
import http.server
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

from harness import command, need, skip

IDENTITY = {"GIT_AUTHOR_NAME": "n", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "n", "GIT_COMMITTER_EMAIL": "a@b",
            "GIT_AUTHOR_DATE": "2010-01-02T03:04:05Z", "GIT_COMMITTER_DATE": "2010-01-02T03:04:05Z",
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}


def git(folder, *arguments):
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_ALLOW_PROTOCOL": "file", **IDENTITY}
    return command(need("git"), *arguments, cwd=folder, env=environment).stdout.decode().strip()


def make_repository(folder, name, files, submodule=None):
    """A bare repository folder/NAME.git with one commit; its id."""
    work = pathlib.Path(folder) / f"{name}-work"
    work.mkdir(parents=True)
    git(work, "init", "-q", "-b", "main")
    for path, content in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(content)
    if submodule:
        target, url = submodule
        git(work, "submodule", "-q", "add", str(pathlib.Path(folder) / f"{target}.git"), target)
        git(work, "config", "-f", ".gitmodules", f"submodule.{target}.url", url)
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "first")
    git(folder, "clone", "-q", "--bare", work, f"{name}.git")
    return git(work, "rev-parse", "HEAD")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process):
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError("the server did not start")
        time.sleep(0.05)


@contextlib.contextmanager
def serving(handler):
    """An HTTP server with this handler class; gives its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def smart_git(folder, authorization=None):
    """git-http-backend over the repositories of `folder`; with `authorization` for those who send exactly that header."""
    backend = shutil.which("git-http-backend") or "/usr/lib/git-core/git-http-backend"
    if not os.path.exists(backend):
        skip("git-http-backend is not installed")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def answer(self):
            if authorization and self.headers.get("Authorization") != authorization:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic realm=git")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            environment = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
                           "QUERY_STRING": query, "REQUEST_METHOD": self.command, "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                           "CONTENT_LENGTH": str(len(body)), "REMOTE_ADDR": "127.0.0.1", "GIT_CONFIG_COUNT": "1",
                           "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
                           "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
            out = subprocess.run([backend], input=body, env=environment, capture_output=True, check=False).stdout
            head, _, rest = out.partition(b"\r\n\r\n")
            lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
            status = dict(lines).get("Status", "200 OK")
            self.send_response(int(status.split()[0]))
            for name, value in lines:
                if name != "Status":
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(rest)

        do_GET = do_POST = answer

        def log_message(self, *_):
            pass

    return serving(Handler)


@contextlib.contextmanager
def git_daemon(folder):
    daemon = "/usr/lib/git-core/git-daemon"
    if not os.path.exists(daemon):
        skip("git-daemon is not installed")
    port = free_port()
    process = subprocess.Popen([daemon, "--listen=127.0.0.1", f"--port={port}", "--export-all", f"--base-path={folder}", "--reuseaddr"],
                               stderr=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_COUNT": "1",
                                                               "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"})
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


class SshServer:
    """An sshd of its own: host key, user key in an agent, and the file of known hosts that names it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        sshd, keygen, agent, add = (need(name) for name in ("sshd", "ssh-keygen", "ssh-agent", "ssh-add"))
        need("ssh")
        for name in ("host", "user"):
            command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name)
        self.port = free_port()
        host_key = (self.folder / "host.pub").read_text().split()
        self.known = self.folder / "known_hosts"
        self.known.write_text(f"[127.0.0.1]:{self.port} {host_key[0]} {host_key[1]}\n")
        config = self.folder / "config"
        config.write_text(f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\nAuthorizedKeysFile {self.folder}/user.pub\n"
                          "PermitRootLogin yes\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n")
        os.makedirs("/run/sshd", exist_ok=True)
        self.server = subprocess.Popen([sshd, "-D", "-f", config, "-E", self.folder / "log"])
        self.socket = str(self.folder / "agent")
        self.agent = subprocess.Popen([agent, "-D", "-a", self.socket], stdout=subprocess.DEVNULL)
        try:
            wait_for_port(self.port, self.server)
            deadline = time.monotonic() + 10
            while not os.path.exists(self.socket) and time.monotonic() < deadline:
                time.sleep(0.05)
            command(add, "-q", self.folder / "user", env={"SSH_AUTH_SOCK": self.socket, "PATH": os.environ["PATH"]})
        except BaseException:
            self.close()
            raise

    def close(self):
        for process in (self.server, self.agent):
            process.terminate()
            process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Revalidating(http.server.BaseHTTPRequestHandler):
    """One file under every path, with an ETag or a time. Counts what was asked and what was sent."""
    protocol_version = "HTTP/1.1"
    body, etag, modified = b"", None, None
    bodies = unchanged = 0

    def do_GET(self):
        kind = type(self)
        same = kind.etag and self.headers.get("If-None-Match") == kind.etag
        same = same or (not kind.etag and kind.modified and self.headers.get("If-Modified-Since") == kind.modified)
        self.send_response_only(304 if same else 200)
        if kind.etag:
            self.send_header("ETag", kind.etag)
        if kind.modified:
            self.send_header("Last-Modified", kind.modified)
        if same:
            kind.unchanged += 1
            self.end_headers()
            return
        kind.bodies += 1
        self.send_header("Content-Length", str(len(kind.body)))
        self.end_headers()
        self.wfile.write(kind.body)

    def log_message(self, *_):
        pass
