"""The programs that take our images: skopeo, umoci, podman, docker. Each is asked in its own storage."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

from harness import command, need, skip


class Consumers:
    def __init__(self, workspace):
        self.workspace = workspace

    def inspect(self, archive):
        """skopeo reads the archive as an OCI layout and as a docker archive, and both describe one image."""
        skopeo = need("skopeo")
        oci = json.loads(command(skopeo, "inspect", f"oci-archive:{archive}").stdout)
        docker = json.loads(command(skopeo, "inspect", f"docker-archive:{archive}").stdout)
        if len(oci["Layers"]) != len(docker["Layers"]):
            raise AssertionError("skopeo sees different layers in the two forms of the archive")
        return oci

    def run_everywhere(self, archive, name, arguments):
        """What the image prints in every container engine that works here. Skips when none does."""
        outputs = []
        reasons = []
        for engine in (self.podman, self.docker):
            try:
                outputs.append(engine(archive, name, arguments))
            except Unusable as reason:
                reasons.append(str(reason))
        if not outputs:
            skip("no container engine works here: " + "; ".join(reasons))
        for reason in reasons:
            print("note: " + reason)
        return outputs

    def podman(self, archive, name, arguments):
        if os.geteuid() != 0 or not shutil.which("podman"):
            raise Unusable("podman is not installed, or this is not root")
        base = ["podman", f"--root={self.workspace.path}/podman", f"--runroot={self.workspace.path}/podman-run",
                "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file"]
        loaded = command(*base, "load", "-q", "-i", archive).stdout.decode()
        image = loaded.split("Loaded image:")[-1].split("Loaded image(s):")[-1].strip().split(",")[0]
        done = command(*base, "run", "--rm", "--runtime=runc", "--network=host", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
                       "--security-opt=seccomp=unconfined", image, *arguments, ok=False)
        if done.returncode != 0:
            text = done.stderr.decode(errors="replace")
            raise Unusable("podman cannot run containers: " + (text.strip().splitlines() or ["?"])[-1])
        return done.stdout.decode()

    def docker(self, archive, name, arguments):
        with docker_daemon(self.workspace) as docker:
            command(*docker, "load", "-q", "-i", archive)
            done = command(*docker, "run", "--rm", "--network=host", name, *arguments, ok=False)
            if done.returncode != 0:
                text = done.stderr.decode(errors="replace")
                raise Unusable("docker cannot run containers: " + (text.strip().splitlines() or ["?"])[-1])
            return done.stdout.decode()


class Unusable(Exception):
    """This engine does not work on this machine; the message says why."""


@contextlib.contextmanager
def docker_daemon(workspace):
    """A dockerd of our own, with everything below the workspace; gives the words that call its client."""
    dockerd = shutil.which("dockerd") or "/usr/sbin/dockerd"
    if os.geteuid() != 0 or not pathlib.Path(dockerd).exists():
        raise Unusable("dockerd is not installed, or this is not root")
    base = workspace.path / "docker"
    base.mkdir(exist_ok=True)
    socket = base / "socket"
    log = open(base / "log", "w", encoding="utf-8")
    daemon = subprocess.Popen([dockerd, f"--data-root={base}/data", f"--exec-root={base}/exec", f"--pidfile={base}/pid",
                               f"--host=unix://{socket}", "--storage-driver=vfs", "--iptables=false", "--bridge=none",
                               "--ip-forward=false"], stdout=log, stderr=log, start_new_session=True)
    client = "/usr/bin/docker" if pathlib.Path("/usr/bin/docker").exists() else shutil.which("docker")
    words = [client, f"--host=unix://{socket}"]
    try:
        for _ in range(150):
            if daemon.poll() is not None:
                break
            if socket.exists() and subprocess.run([*words, "version"], capture_output=True, check=False).returncode == 0:
                yield words
                return
            time.sleep(0.2)
        reason = (base / "log").read_text(errors="replace").strip().splitlines() or ["it says nothing"]
        raise Unusable("dockerd does not start: " + reason[-1])
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()
        log.close()
        # dockerd leaves the mount of its default network namespace behind.
        subprocess.run(["umount", str(base / "exec" / "netns" / "default")], capture_output=True, check=False)
