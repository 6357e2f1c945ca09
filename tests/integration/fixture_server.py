"""The HTTP routes and the git repository that testdata/cases/remote.json describes, on a loopback port."""
import functools
import http.server
import os
import pathlib
import subprocess
import threading

from case_files import make_archive
from harness import need

# Who and when decide the commit ids of the cases, and so does the exact order of the commands.
IDENTITY = {"GIT_AUTHOR_NAME": "n", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "n", "GIT_COMMITTER_EMAIL": "a@b",
            "GIT_AUTHOR_DATE": "2010-01-02T03:04:05Z", "GIT_COMMITTER_DATE": "2010-01-02T03:04:05Z"}


def make_repository(folder, fixture):
    """Makes the bare repository folder/git/repo.git and checks that its commits are those of the cases."""
    need("git")
    work = folder / "work"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", **IDENTITY}

    def git(*arguments, cwd=work):
        return subprocess.run(["git", *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, check=True, text=True).stdout.strip()

    subprocess.run(["git", "init", "-q", "-b", "main", work], env=environment, check=True)
    for commit in fixture["git"]["commits"]:
        if commit["branch"] != "main":
            git("checkout", "-q", "-b", commit["branch"])
        for entry in commit["files"]:
            path = work / entry["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if entry.get("type") == "symlink":
                path.symlink_to(entry["target"])
                continue
            path.write_text(entry["content"])
            os.chmod(path, int(entry.get("mode", "0644").split()[0], 8))
        git("add", "-A")
        git("commit", "-q", "-m", commit["message"])
        if git("rev-parse", "HEAD") != commit["sha"]:
            raise AssertionError(f"commit {commit['message']} got another id than in the cases")
        if commit["branch"] == "main":
            git("tag", "v1")
            git("tag", "-a", "-m", "ann", "v2")
    git("checkout", "-q", "main")
    (folder / "git").mkdir()
    git("clone", "-q", "--bare", work, folder / "git" / "repo.git", cwd=folder)
    git("update-server-info", cwd=folder / "git" / "repo.git")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, fixture, *arguments):
        self.fixture = fixture
        super().__init__(*arguments)

    def answer(self):
        path = self.path.partition("?")[0]
        status, headers, body = self.fixture.routes.get(path) or self.fixture.git_file(path) or (404, {}, b"")
        self.send_response_only(status)   # no Date and no Server: what a case gets is what the fixture says
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = answer

    def log_message(self, *_):
        pass


class Fixture:
    """Serves until close(). `url` stands for @ in a case."""

    def __init__(self, folder, fixture):
        self.folder = pathlib.Path(folder)
        self.routes = {}
        for route in fixture["routes"]:
            body = make_archive(fixture["archive" + route["archive"]], route["compression"]) if "archive" in route else route["content"].encode()
            self.routes[route["path"]] = (route["status"], route["headers"], body)
        make_repository(self.folder, fixture)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, self))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def git_file(self, path):
        """A file of the bare repository (dumb HTTP), or nothing."""
        file = self.folder / path.lstrip("/")
        if not path.startswith("/git/") or ".." in path or not file.is_file():
            return None
        return 200, {}, file.read_bytes()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
