"""testdata/cases/run.json: every case is one test against the real kernel."""
import os
import pathlib
import signal
import subprocess
import time

import harness
from case_files import Image, flags_of, load, make_context
from harness import equal, need, run

DATA = load("run")
# Succeed where the reference fails; docs/known-differences.md says why.
ACCEPTED = ("RN-SE-18",)


class Agent:
    """An ssh agent without keys, for cases that forward one."""

    def __init__(self, workspace):
        self.socket = workspace.path / "agent.sock"
        self.process = subprocess.Popen([need("ssh-agent"), "-D", "-a", str(self.socket)], stdout=subprocess.DEVNULL)
        for _ in range(100):
            if self.socket.exists():
                return
            time.sleep(0.05)
        raise AssertionError("ssh-agent does not start")

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def run_case(case):
    def body(w):
        w.busybox()
        context = make_context(w.path / "context", case.get("context", DATA["defaultContext"]))
        dockerfile = w.path / "Dockerfile"
        dockerfile.write_text(case["dockerfile"].replace("uniq", "uniq-"))
        flags = ["-f", dockerfile, *flags_of(case.get("options"))]
        for identity, text in case.get("secrets", {}).items():
            path = w.path / ("secret-" + identity.replace("/", "-"))
            path.write_text(text)
            flags += ["--secret", f"id={identity},src={path}", "--allow-secret-leak"]  # the cases look at it
        for name, entries in case.get("namedContexts", {}).items():
            flags += ["--build-context", f"{name}={make_context(w.path / ('named-' + name), entries)}"]
        if "network.host is not allowed" in case.get("error", ""):
            # The reference has a private network by default. Ours is the host's, so the right to it only means something
            # where the build was told to have less.
            flags += ["--network", "none"]
        agent = Agent(w) if case.get("sshAgent") else None
        try:
            for identity in case.get("sshAgent", []):
                flags += ["--ssh", f"{identity}={agent.socket}"]
            archive = w.path / "out.tar"
            if case["id"] in ACCEPTED:
                w.build(context, *flags)
                return
            if "error" in case:
                result = w.build(context, *flags, ok=False)
                if result.code not in range(1, 9):
                    raise AssertionError(f"unexpected exit code: {result!r}")
                return
            w.build(context, *flags, "-o", f"type=oci,dest={archive}")
        finally:
            if agent:
                agent.close()
        image = Image(archive)
        if case["id"] == "RN-NW-03":
            # The first interface is the host's: RUN shares the host's network by default.
            equal(image.read("/out").decode().strip(), sorted(os.listdir("/sys/class/net"))[0], "first interface")
            return
        if "probe" in case:
            found = image.read(case["probe"]["path"])
            if found is None:
                raise AssertionError(f"{case['probe']['path']} is not in the image")
            equal(found.decode(errors="replace"), case["probe"]["content"], "probe " + case["probe"]["path"])
        if "addedLayers" in case:
            added = image.layer_names()[-len(case["addedLayers"]):] if case["addedLayers"] else []
            equal(added, case["addedLayers"], "added layers")
    body.__name__ = case["id"]
    return body


harness._tests.extend(run_case(case) for case in DATA["cases"])

if __name__ == "__main__":
    run()
