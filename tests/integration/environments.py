"""Machines as imgbuild meets them: a host, and containers with the settings of Docker, made with runc."""
import json
import os
import pathlib
import shutil
import subprocess

from harness import PROGRAM, command, need, need_root, skip

# What Docker gives a container that asks for nothing.
CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
                "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
                "CAP_AUDIT_WRITE"]
MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
UID = 54321   # of the ordinary user; neither a name nor subordinate ids belong to it


# Becomes user UID in a user namespace that allows no further ones, and then the program on the command line.
WITHOUT_NAMESPACES = f'''
import ctypes, os, sys
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    if ctypes.CDLL(None).unshare(0x10000000) != 0:
        sys.exit(125)
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    with open("/proc/sys/user/max_user_namespaces", "w") as limit:
        limit.write("0")
    os.setgroups([])
    os.setresgid({UID}, {UID}, {UID})
    os.setresuid({UID}, {UID}, {UID})
    os.execv(sys.argv[1], sys.argv[1:])
os.read(ready[0], 1)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{{child}}/{{name}}", "w") as ids:
        ids.write("0 0 65536")
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
'''


class Container:
    """Runs commands in containers that show this machine's /usr and one folder of the workspace."""

    def __init__(self, workspace, uid=0, seccomp=True, hidden_proc=True):
        need_root()
        need("runc")
        self.workspace, self.uid = workspace, uid
        section = os.environ.get("SECCOMP_SECTION") or str(pathlib.Path(PROGRAM).parents[1] / "tests" / "seccomp-section")
        if seccomp and not os.path.exists(section):
            skip("the program seccomp-section is not built")
        self.bundle = workspace.path / f"bundle-{uid}-{seccomp}-{hidden_proc}"
        self.bundle.mkdir()
        self.shared = workspace.path / "shared"
        self.shared.mkdir(exist_ok=True)
        os.chmod(self.shared, 0o777)
        self._make_root()
        command("runc", "spec", cwd=self.bundle)
        config = json.loads((self.bundle / "config.json").read_text())
        config["root"] = {"path": "rootfs", "readonly": False}
        config["hostname"] = "container"
        process = config["process"]
        process["terminal"] = False
        process["user"] = {"uid": uid, "gid": uid}
        process["noNewPrivileges"] = False
        process["capabilities"] = {name: CAPABILITIES for name in ("bounding", "effective", "permitted")}
        if uid != 0:
            process["capabilities"]["effective"] = process["capabilities"]["permitted"] = []
        process.pop("apparmorProfile", None)
        config["mounts"] += [
            {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
            {"destination": "/shared", "type": "bind", "source": str(self.shared), "options": ["rbind", "rw"]},
            {"destination": "/imgbuild", "type": "bind", "source": str(pathlib.Path(PROGRAM).resolve()), "options": ["bind", "ro"]}]
        linux = config["linux"]
        linux["maskedPaths"] = MASKED if hidden_proc else []
        linux["readonlyPaths"] = READ_ONLY if hidden_proc else []
        linux.pop("seccomp", None)
        if seccomp:
            linux["seccomp"] = json.loads(command(section).stdout)
        self.config = config
        self.count = 0

    def _make_root(self):
        root = self.bundle / "rootfs"
        for name in ("etc", "tmp", "usr", "shared", "proc", "sys", "dev", "root"):
            (root / name).mkdir(parents=True)
        os.chmod(root / "tmp", 0o1777)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        (root / "imgbuild").touch()
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
        (root / "etc/resolv.conf").write_text("nameserver 192.0.2.1\n")
        for name in ("ld.so.cache", "ld.so.conf", "alternatives"):
            source = pathlib.Path("/etc", name)
            if source.is_dir():
                shutil.copytree(source, root / "etc" / name, symlinks=True)
            elif source.exists():
                shutil.copy(source, root / "etc" / name)

    def prefix(self, arguments, environment):
        """The command line that runs `arguments` in a new container."""
        self.count += 1
        config = json.loads(json.dumps(self.config))
        config["process"]["args"] = [str(a) for a in arguments]
        config["process"]["env"] = [f"{k}={v}" for k, v in environment.items()]
        config["process"]["cwd"] = "/shared"
        (self.bundle / "config.json").write_text(json.dumps(config))
        return ["runc", "--root", str(self.workspace.path / "runc"), "run", "--bundle", str(self.bundle),
                f"imgbuild-test-{os.getpid()}-{self.bundle.name}-{self.count}"]


def run_in(container, *arguments, environment=None, timeout=300):
    """imgbuild in a container; gives the finished process with text."""
    variables = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "IMGBUILD_ROOT": f"/shared/store-{container.bundle.name}",
                 "LC_ALL": "C.UTF-8", **(environment or {})}
    done = subprocess.run(container.prefix(["/imgbuild", *arguments], variables), capture_output=True, timeout=timeout,
                          check=False, stdin=subprocess.DEVNULL)
    done.stdout, done.stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if "runc" in done.stderr and "level=error" in done.stderr:
        skip("runc cannot make containers here: " + done.stderr.strip().splitlines()[-1])
    return done
