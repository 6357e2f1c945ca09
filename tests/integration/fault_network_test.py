"""Networks that break in the middle: transfers go on where they ended, and what cannot work says why in one line."""
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from flight_test import Running
from harness import contains, equal, need, need_root, run, test
from registry_server import Drop, Registry, Stall, Status
from store_check import corrupt_blobs, unfinished

SEED = int(os.environ.get("IMGBUILD_SEED", "1"))
DELAY = [] if os.environ.get("IMGBUILD_LONG") else ["--retry-delay=50ms"]
ROUNDS = int(os.environ.get("IMGBUILD_FAULTS", "6"))


class Pulls:
    """An image in a registry that misbehaves, and a build that needs its layer."""

    def __init__(self, w):
        need_root()
        self.w = w
        self.layout = w.path / "layout"
        big = w.folder("big", {"Dockerfile": "FROM scratch\nCOPY data /data\n", "data": random.Random(1).randbytes(400_000)})
        Running(w, big, "-o", f"type=oci,tar=false,dest={self.layout}", store=w.path / "other").wait()
        self.registry = Registry(self.layout)
        self.layer, self.size = self.registry.layers()[0]
        self.context = w.folder("context", {"Dockerfile": f"FROM {self.registry.address}/some/image AS base\nFROM scratch\nCOPY --from=base /data /d\n"})

    def start(self):
        shutil.rmtree(self.w.store, ignore_errors=True)
        self.registry.requests.clear()
        self.registry.resumed.clear()
        return Running(self.w, self.context, "--source-date-epoch=1000000000", *DELAY)

    def check(self, expected):
        result = self.start().wait()
        equal(result.out, expected, "digest")
        equal(corrupt_blobs(self.w.store), [], "corrupt blobs")
        equal(unfinished(self.w.store), [], "unfinished things")

    def __enter__(self):
        self.digest = self.start().wait().out
        return self

    def __exit__(self, *_):
        self.registry.close()


@test
def FLT_23_a_transfer_that_breaks_at_any_byte_goes_on_there(w):
    chance = random.Random(SEED)
    with Pulls(w) as pulls:
        for number in range(ROUNDS):
            at = chance.randrange(pulls.size)
            pulls.registry.fail(pulls.layer, Drop(at, reset=number % 2 == 1), Drop(chance.randrange(1000)))
            pulls.check(pulls.digest)
            equal(pulls.registry.requests[pulls.layer], 3, "requests")
            if number % 2 == 0 and at > 0:
                equal(pulls.registry.resumed[pulls.layer] >= 1, True, f"resumed after a close at {at}")


@test
def FLT_23_a_server_without_ranges_sends_the_blob_again(w):
    with Pulls(w) as pulls:
        pulls.registry.knows_ranges = False
        pulls.registry.fail(pulls.layer, Drop(200_000), Drop(300_000, reset=True))
        pulls.check(pulls.digest)
        equal(pulls.registry.resumed[pulls.layer], 0, "ranges")


@test
def FLT_23_a_short_stall_and_a_busy_server_are_waited_for(w):
    with Pulls(w) as pulls:
        pulls.registry.fail(pulls.layer, Status(503), Stall(1000, 3))
        pulls.check(pulls.digest)


@test
def FLT_23_a_transfer_that_never_works_ends_with_an_error_and_leaves_nothing(w):
    with Pulls(w) as pulls:
        pulls.registry.fail(pulls.layer, *[Drop(10)] * 20)
        err = pulls.start().wait(5).err
        contains(err, "error:")
        equal(unfinished(w.store), [], "unfinished things")
        pulls.registry.fail(pulls.layer)
        pulls.check(pulls.digest)


@test
def FLT_22_a_build_that_was_suspended_during_a_pull_goes_on(w):
    seconds = 60 if os.environ.get("IMGBUILD_LONG") else 2
    with Pulls(w) as pulls:
        pulls.registry.fail(pulls.layer, Stall(1000, 1))
        build = pulls.start()
        time.sleep(0.5)
        build.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        build.process.send_signal(signal.SIGCONT)
        equal(build.wait().out, pulls.digest, "digest")


@test
def FLT_1_killed_and_cancelled_during_a_pull(w):
    with Pulls(w) as pulls:
        for sign, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
            pulls.registry.fail(pulls.layer, Stall(1000, 30))
            build = pulls.start()
            time.sleep(0.7)
            build.process.send_signal(sign)
            begin = time.monotonic()
            build.wait(code)
            equal(time.monotonic() - begin < 5, True, "ended soon")
            pulls.registry.fail(pulls.layer)
            equal(Running(w, pulls.context, "--source-date-epoch=1000000000").wait().out, pulls.digest, "digest of the next build")
            equal(corrupt_blobs(w.store) + unfinished(w.store), [], "corrupt or unfinished")


def one_line(err):
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    equal(len(lines), 1, f"lines that begin with error: in {err}")
    return lines[0]


def answering(answer, certificate=None):
    """A server on a loopback port that answers every connection with these bytes."""
    listener = socket.create_server(("127.0.0.1", 0))
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                if context:
                    connection = context.wrap_socket(connection, server_side=True)
                connection.recv(65536)
                connection.sendall(answer)
                connection.close()
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    return listener


@test
def FLT_24_a_name_that_does_not_resolve_is_one_line(w):
    context = w.folder("context", {"Dockerfile": "FROM nowhere.invalid/some/image\nLABEL a=b\n"})
    result = w.run("build", context, ok=False)
    equal(result.code, 5, "exit code")
    contains(one_line(result.err), "nowhere.invalid")


@test
def FLT_24_a_proxy_that_refuses_is_one_line(w):
    context = w.folder("context", {"Dockerfile": "FROM registry.invalid/some/image\nLABEL a=b\n"})
    for status in ("407 Proxy Authentication Required", "502 Bad Gateway"):
        server = answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        begin = time.monotonic()
        result = w.run("build", *DELAY, context, ok=False, env={"https_proxy": proxy, "http_proxy": proxy})
        if status.startswith("407"):
            equal(time.monotonic() - begin < 10, True, "a proxy's no is final")
        server.close()
        equal(result.code, 5, f"exit code with {status}")
        contains(one_line(result.err), status[:3])


@test
def FLT_24_an_expired_certificate_is_one_line(w):
    openssl = need("openssl")
    folder = w.folder("ca", {"index.txt": "", "serial": "01\n",
                             "ca.cnf": "[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n"
                                       "policy=p\nx509_extensions=x\n[p]\ncommonName=supplied\n[x]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"})

    def call(*arguments):
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    call("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "10")
    call("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    call("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", "server.csr", "-out", "server.pem",
         "-startdate", "20200101000000Z", "-enddate", "20200102000000Z", "-notext")
    server = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (folder / "server.pem", folder / "server.key"))
    context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD https://localhost:{server.getsockname()[1]}/file /f\n"})
    result = w.run("build", context, ok=False, env={"SSL_CERT_FILE": str(folder / "ca.pem")})
    server.close()
    equal(result.code, 5, "exit code")
    contains(one_line(result.err), "expired")


if __name__ == "__main__":
    run()
