"""The programs that are compared. Each keeps all it stores below a directory of its own."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time


class CommandFailed(Exception):
    pass


class Measure:
    """Runs commands through bench/measure and gives what they cost."""

    def __init__(self, program, log):
        self.program = str(program)
        self.log = pathlib.Path(log)

    def __call__(self, command, env=None, cwd=None):
        self.log.unlink(missing_ok=True)
        done = subprocess.run([self.program, str(self.log), *map(str, command)], capture_output=True, text=True, check=True,
                              env={**os.environ, **(env or {})}, cwd=cwd)
        cost = json.loads(done.stdout)
        if cost.pop("exit") != 0:
            raise CommandFailed(f"{' '.join(map(str, command))}: " + self.log.read_text(errors="replace")[-1500:])
        return cost


def _add(first, second):
    total = {key: first[key] + second[key] for key in ("wall", "user", "system")}
    return {**total, "peak_kib": max(first["peak_kib"], second["peak_kib"])}


class Imgbuild:
    """This program. `start()` gives it an empty store."""

    def __init__(self, program, directory, measure, name="imgbuild", options=()):
        self.name = name
        self.program = str(pathlib.Path(program).resolve())
        self.directory = pathlib.Path(directory) / name
        self.measure = measure
        self.options = list(options)
        self.store = self.directory / "store"

    def version(self):
        return subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def start(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        self.reset()

    def stop(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def reset(self):
        """An empty store. The old one is only put aside: ext4 makes new files slowly while many were deleted a moment ago."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.store.exists():
            self.store.rename(self.directory / f"old-{len(list(self.directory.iterdir()))}")

    def base(self, name, context):
        self.measure([self.program, "--root", self.store, "-t", name, context])

    def build(self, context, archive, no_cache=False):
        extra = ["--no-cache"] if no_cache else []
        return self.measure([self.program, "--root", self.store, *self.options, *extra, "-o", f"type=oci,dest={archive}", context])


class Buildah:
    name = "buildah"

    def __init__(self, directory, measure):
        self.directory = pathlib.Path(directory) / self.name
        self.measure = measure
        self.words = ["buildah", "--root", str(self.directory / "root"), "--runroot", str(self.directory / "run"),
                      "--storage-driver", "overlay"]

    @staticmethod
    def why_not():
        if not shutil.which("buildah"):
            return "not installed"
        return None if os.geteuid() == 0 else "measured as root only"

    def version(self):
        return subprocess.run(["buildah", "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)

    def stop(self):
        subprocess.run([*self.words, "rm", "--all"], capture_output=True, check=False)
        subprocess.run([*self.words, "rmi", "--all", "--force"], capture_output=True, check=False)
        subprocess.run(["umount", str(self.directory / "root" / "overlay")], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def reset(self):
        """Its bases stay: a cold build of buildah is one with --no-cache."""

    def base(self, name, context):
        known = subprocess.run([*self.words, "inspect", "--type", "image", name], capture_output=True, check=False)
        if known.returncode != 0:
            self.measure([*self._bud(), "-t", name, context])

    def _bud(self):
        soft = min(20000, __import__("resource").getrlimit(__import__("resource").RLIMIT_NOFILE)[1])
        runtime = ["--runtime", "runc"] if shutil.which("runc") else []
        return [*self.words, "bud", "--layers", "--pull-never", "--isolation", "oci", *runtime, f"--ulimit=nofile={soft}:{soft}",
                "--network", "host"]

    def build(self, context, archive, no_cache=False):
        extra = ["--no-cache"] if no_cache else []
        name = "bench-" + pathlib.Path(context).name
        cost = self.measure([*self._bud(), *extra, "-t", name, context])
        pathlib.Path(archive).unlink(missing_ok=True)
        return _add(cost, self.measure([*self.words, "push", "-q", name, f"oci-archive:{archive}"]))


class Docker:
    """BuildKit as it is inside Debian's docker.io: the image is built, then saved as an archive. Processor time and memory
    are the client's only, since the daemon does the work."""
    name = "docker"

    def __init__(self, directory, measure):
        self.directory = pathlib.Path(directory) / self.name
        self.measure = measure
        self.socket = self.directory / "socket"
        self.client = "/usr/bin/docker" if pathlib.Path("/usr/bin/docker").exists() else "docker"
        self.words = [self.client, f"--host=unix://{self.socket}"]
        self.daemon = None
        self.env = {"DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": str(self.directory / "config")}

    @staticmethod
    def why_not():
        if not pathlib.Path("/usr/sbin/dockerd").exists() and not shutil.which("dockerd"):
            return "not installed"
        return None if os.geteuid() == 0 else "needs root"

    def version(self):
        done = subprocess.run([*self.words, "version", "--format", "docker {{.Server.Version}}"], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        log = open(self.directory / "log", "w", encoding="utf-8")
        self.daemon = subprocess.Popen(
            [shutil.which("dockerd") or "/usr/sbin/dockerd", f"--data-root={self.directory}/data", f"--exec-root={self.directory}/exec",
             f"--pidfile={self.directory}/pid", f"--host=unix://{self.socket}", "--iptables=false", "--bridge=none", "--ip-forward=false"],
            stdout=log, stderr=log, start_new_session=True)
        log.close()
        for _ in range(150):
            if self.daemon.poll() is not None:
                break
            if self.socket.exists() and subprocess.run([*self.words, "version"], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.2)
        text = (self.directory / "log").read_text(errors="replace").strip().splitlines()
        self.stop()
        raise CommandFailed("dockerd does not start: " + (text[-1] if text else "it says nothing"))

    def stop(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
            try:
                self.daemon.wait(30)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        subprocess.run(["umount", str(self.directory / "exec" / "netns" / "default")], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def reset(self):
        """Its bases stay: a cold build of BuildKit is one with --no-cache."""

    def base(self, name, context):
        known = subprocess.run([*self.words, "image", "inspect", name], capture_output=True, check=False)
        if known.returncode != 0:
            self.measure([*self.words, "build", "--network=host", "-q", "-t", name, context], env=self.env)

    def build(self, context, archive, no_cache=False):
        extra = ["--no-cache"] if no_cache else []
        name = "bench-" + pathlib.Path(context).name
        cost = self.measure([*self.words, "build", "--network=host", "-q", *extra, "-t", name, context], env=self.env)
        return _add(cost, self.measure([*self.words, "save", "-o", archive, name], env=self.env))
