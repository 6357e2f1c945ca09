"""The network of RUN: host, none, a namespace by path, private through pasta or slirp4netns; names and addresses."""
import contextlib
import http.server
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

from bases import client_base
from case_files import Image
from harness import PROGRAM, contains, equal, need, need_root, run, skip, test
from run_test import processes_with
from unprivileged_test import ordinary_user

PROGRAMS = ("pasta", "slirp4netns")


def installed():
    found = [name for name in PROGRAMS if shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")]
    if not found:
        skip("neither pasta nor slirp4netns is installed")
    return found


def outputs(w, dockerfile, *options, files=(), name="context"):
    """Builds, and gives the content of the wanted files of the image."""
    context = w.folder(name, {"Dockerfile": dockerfile})
    archive = w.path / "out.tar"
    w.build(context, *options, "-o", archive)
    image = Image(archive)
    return [image.read(file).decode() for file in files]


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"loopback service\n")

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def loopback_server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def namespace(address):
    """A network namespace with `address` on its loopback device: the path of it."""
    need_root()
    need("ip")
    process = subprocess.Popen(["unshare", "--net", "sh", "-c",
                                f"ip link set lo up && ip addr add {address}/32 dev lo && echo up && exec sleep 60"],
                               stdout=subprocess.PIPE)
    try:
        equal(process.stdout.readline(), b"up\n", "namespace")
        yield f"/proc/{process.pid}/ns/net"
    finally:
        process.kill()
        process.wait()


def helpers(builder):
    """The guard of a network program that `builder` started, and the program."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                found[int(entry.name)] = int(fields[1])
    guards = [pid for pid, parent in found.items() if parent == builder and
              pathlib.Path(f"/proc/{pid}/comm").read_text() == "imgbuild-net\n"]
    return guards + [pid for pid, parent in found.items() if parent in guards]


def is_alive(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


@test
def none_is_without_any_network(w):
    w.busybox()
    [links] = outputs(w, "FROM busybox\nRUN ip -o link > /links\n", "--network=none", files=["/links"])
    equal([line.split(":")[1].strip() for line in links.splitlines()], ["lo"], "devices")
    # A RUN may always ask for less.
    [links] = outputs(w, "FROM busybox\nRUN --network=none ip -o link > /links\n", files=["/links"], name="second")
    equal([line.split(":")[1].strip() for line in links.splitlines()], ["lo"], "devices")


@test
def a_namespace_is_joined_by_its_path(w):
    w.busybox()
    with namespace("198.51.100.7") as path:
        [text] = outputs(w, "FROM busybox\nRUN ip -o addr > /addr\n", f"--network=ns:{path}", files=["/addr"])
        contains(text, "198.51.100.7/32")
        refused = w.build(w.folder("host", {"Dockerfile": "FROM busybox\nRUN --network=host true\n"}),
                          f"--network=ns:{path}", ok=False)
        contains(refused.err, "network.host is not allowed")
    # It is part of the key that another network was used, its path is not.
    equal(w.build(w.path / "context", f"--network=ns:{path}").ran, [], "steps run again")


@test
def what_is_no_namespace_is_refused(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN true\n"})
    os.mkfifo(w.path / "fifo")
    for path, reason in (("/etc/hostname", "is not a network namespace"), ("/proc/self/ns/uts", "is not a network namespace"),
                         ("/nowhere", "No such file"), (w.path / "fifo", "is not a network namespace")):
        contains(w.build(context, f"--network=ns:{path}", ok=False, timeout=30).err, reason)
    for wrong in ("ns:", "NONE", "bridge", "container:x", ""):
        result = w.run("build", f"--network={wrong}", context, ok=False)
        equal(result.code, 2, f"exit code of {wrong}")


@test
def a_private_network_reaches_no_service_of_the_builder(w):
    need_root()
    w.busybox()
    client_base(w, "curl")
    with loopback_server() as port:
        for program in installed():
            [links, gateway, own] = outputs(
                w, "FROM client\nRUN ip -o link > /links; gateway=$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'); "
                f"echo ${{gateway:?}}; curl -s --max-time 5 -o /reached http://$gateway:{port}/; echo $? > /gateway; "
                f"curl -s --max-time 5 http://127.0.0.1:{port}/; echo $? > /own\n",
                f"--network={program}", "--no-cache", files=["/links", "/gateway", "/own"])
            equal(len(links.splitlines()), 2, f"devices with {program}")
            equal(gateway.strip() in ("7", "28"), True, f"the builder's loopback is refused by {program}: {gateway}")
            equal(own, "7\n", f"the own loopback with {program}")
            [reached] = outputs(w, f"FROM client\nRUN curl -s --max-time 5 -o /reached http://builder:{port}/\n", "--no-cache",
                                f"--network={program}", "--add-host", "builder:host-gateway", files=["/reached"])
            equal(reached, "loopback service\n", f"host-gateway with {program}")


@test
def host_gateway_in_the_builders_network_is_the_builder(w):
    w.busybox()
    client_base(w, "curl")
    with loopback_server() as port:
        [reached] = outputs(w, f"FROM client\nRUN curl -s --max-time 5 -o /reached http://builder:{port}/\n",
                            "--add-host", "builder=host-gateway", files=["/reached"])
    equal(reached, "loopback service\n", "answer")


@test
def private_takes_what_is_installed_and_says_so_when_nothing_is(w):
    need_root()
    w.busybox()
    found = installed()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN ip -o link > /links\n"})
    w.build(context, "--network=private")
    # Both programs covered, in a mount namespace of its own: as if they were not there.
    cover = " && ".join(f"mount --bind /dev/null {shutil.which(name, path='/usr/local/bin:/usr/bin:/bin')}" for name in found)
    w.prefix = ["unshare", "--mount", "sh", "-c", f'{cover} && exec "$@"', "sh"]
    refused = w.build(context, "--network=private", "--no-cache", ok=False)
    equal(refused.code, 8, "exit code")
    contains(refused.err, "passt")
    contains(w.build(context, "--network=slirp4netns", "--no-cache", ok=False).err, "slirp4netns")


@test
def the_network_program_dies_with_a_killed_builder(w):
    need_root()
    w.busybox()
    for program in installed():
        context = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN echo {program}; sleep 3077\n"})
        process = subprocess.Popen([PROGRAM, "build", f"--network={program}", context], stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, env={**w.environment, "IMGBUILD_ROOT": str(w.store)})
        deadline = time.monotonic() + 20
        while not processes_with("sleep\x003077") and time.monotonic() < deadline:
            time.sleep(0.02)
        started = helpers(process.pid)
        equal(len(started), 2, f"guard and {program}")
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        deadline = time.monotonic() + 5
        while any(map(is_alive, started)) and time.monotonic() < deadline:
            time.sleep(0.02)
        equal([pid for pid in started if is_alive(pid)], [], f"{program} left")


@test
def an_ordinary_user_gets_a_private_network(w):
    found = installed()
    ordinary_user(w)
    tun = pathlib.Path("/dev/net/tun")
    if not tun.exists() or tun.stat().st_mode & 0o006 != 0o006:
        skip("ordinary users may not open /dev/net/tun here")
    w.busybox()
    for program in found:
        [links] = outputs(w, "FROM busybox\nRUN ip -o link > /links; ip route | grep -q default\n", f"--network={program}",
                          "--no-cache", files=["/links"])
        equal(len(links.splitlines()), 2, f"devices with {program}")


@test
def names_come_from_the_options_and_stay_out_of_keys_and_layers(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN cat /etc/resolv.conf /etc/hosts > /names\n"})
    archive = w.path / "out.tar"
    w.build(context, "--dns", "192.0.2.53", "--dns=2001:db8::53", "--dns-search", "one.example", "--dns-search=two.example",
            "--dns-option", "ndots:3", "--add-host", "db:192.0.2.9", "--add-host", "six=[2001:db8::9]", "-o", archive)
    image = Image(archive)
    text = image.read("/names").decode()
    for line in ("nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch one.example two.example\noptions ndots:3\n",
                 "192.0.2.9\tdb\n", "2001:db8::9\tsix\n"):
        contains(text, line)
    again = w.build(context, "--dns", "192.0.2.54", "--add-host", "db:192.0.2.10", "--add-host", "six=::2")
    equal(again.ran, [], "steps run again for other addresses")
    [without] = outputs(w, "FROM busybox\nRUN cat /etc/resolv.conf > /names\n", "--dns-search", ".", "--dns=192.0.2.1",
                        files=["/names"], name="second")
    equal("search" in without, False, "a search list")


@test
def wrong_names_and_addresses_are_refused(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\n"})
    for option in ("--dns=dns.example", "--dns=none", "--dns=1.2.3", "--dns-search=a b", "--dns-option=x\ny", "--add-host=db",
                   "--add-host=db:host", "--add-host=a b:1.2.3.4", "--add-host=x\n:1.2.3.4", "--add-host=:1.2.3.4"):
        equal(w.run("build", option, context, ok=False).code, 2, f"exit code of {option!r}")
    four = [f"--dns=192.0.2.{i}" for i in range(4)]
    contains(w.run("build", *four, context, ok=False).err, "more than 3")


if __name__ == "__main__":
    run()
