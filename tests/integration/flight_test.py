"""Builds that want the same thing at the same time: it is made once, and whoever waits is never stuck."""
import http.server
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

from harness import PROGRAM, contains, equal, need_root, run, test
from registry_server import Registry, Stall
from store_check import listing


class Running:
    """A build that runs beside the test."""

    def __init__(self, w, context, *arguments, store=None):
        environment = {**w.environment, "IMGBUILD_ROOT": str(store or w.store)}
        self.process = subprocess.Popen([PROGRAM, "build", "--progress=json", *map(str, arguments), str(context)], env=environment,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def wait(self, code=0, timeout=120):
        out, err = self.process.communicate(timeout=timeout)
        self.out, self.err = out.decode(errors="replace"), err.decode(errors="replace")
        self.events = [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]
        self.hows = [e["how"] for e in self.events if e["event"] == "step_finished"]
        self.waits = [e for e in self.events if e["event"] == "waiting"]
        if self.process.returncode != code:
            raise AssertionError(f"exit code {self.process.returncode} instead of {code}: {self.err}")
        return self

    def text(self):
        return "".join(e["text"] for e in self.events if e["event"] == "step_output")


def counted(w, name):
    """How many lines the cache mount `count` has in the file `name`."""
    lines = 0
    for data in (w.store / "mounts").glob("*/data"):
        path = data / name
        lines += len(path.read_text().splitlines()) if path.exists() else 0
    return lines


def wait_until(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain until {what}")
        time.sleep(0.02)


def counting(name, more="true"):
    return f"RUN --mount=type=cache,id=count,target=/count echo x >> /count/{name} && {more}\n"


@test
def FLT_12_identical_builds_that_start_together_run_each_step_once(w):
    need_root()
    w.busybox()
    rounds = int(os.environ.get("IMGBUILD_ROUNDS", "4"))
    for number in range(rounds):
        context = w.folder("context", {"Dockerfile": f"FROM busybox\nENV ROUND={number}\n" + counting("a", "sleep 0.3; echo 1 > /a") +
                                                     "COPY Dockerfile /d\n" + counting("b", "sleep 0.2; echo 2 > /b") + "WORKDIR /w\n"})
        builds = [Running(w, context, "--source-date-epoch=1000000000") for _ in range(3)]
        results = [build.wait() for build in builds]
        equal(len({result.out for result in results}), 1, "different digests")
        equal((counted(w, "a"), counted(w, "b")), (number + 1, number + 1), "how often the commands ran")
        equal(sorted(sum((r.hows for r in results), [])), ["cached"] * 8 + ["ran"] * 4, "steps")


@test
def two_stages_with_the_same_step_run_it_once(w):
    need_root()
    w.busybox()
    for jobs in ("4", "1"):
        same = f"ENV JOBS={jobs}\n" + counting("a", "sleep 0.3; echo 1 > /a")
        context = w.folder("context", {"Dockerfile": f"FROM busybox AS one\n{same}FROM busybox AS two\n{same}FROM scratch\n"
                                                     "COPY --from=one /a /1\nCOPY --from=two /a /2\n"})
        result = Running(w, context, f"--jobs={jobs}").wait()
        equal(counted(w, "a"), {"4": 1, "1": 2}[jobs], f"how often the command ran, --jobs={jobs}")
        equal(sorted(e["how"] for e in result.events if e["event"] == "step_finished" and e["step"] < 2), ["cached", "ran"], "steps")


@test
def clones_that_copy_the_same_new_files_at_once_make_one_layer(w):
    # Large enough that the key is made from the layer and not the other way round.
    content = b"".join(b"line %d of a file that all clones have\n" % i for i in range(1_000_000))
    clones = []
    for name in ("a", "b", "c"):
        clones.append(w.folder(name, {"Dockerfile": "FROM scratch\nCOPY . /\n"}))
        (clones[-1] / "data").write_bytes(content)
    builds = [Running(w, clone, "--source-date-epoch=1000000000", "--stats") for clone in clones]
    results = [build.wait() for build in builds]
    made = ["time:   layer " in result.err for result in results]  # a part that took nothing has no line
    equal(sorted(made), [False, False, True], "which builds made the layer")
    equal(sorted(sum((r.hows for r in results), [])), ["cached", "cached", "ran"], "steps")
    equal(len({result.out for result in results}), 1, "different digests")

    # In one build, too.
    (clones[0] / "data").write_bytes(content + b"more")
    (clones[0] / "Dockerfile").write_text("FROM scratch AS one\nCOPY data /\nFROM scratch AS two\nCOPY data /\n"
                                          "FROM scratch\nCOPY --from=one / /1\nCOPY --from=two / /2\n")
    result = Running(w, clones[0], "--jobs=4").wait()
    equal(sorted(e["how"] for e in result.events if e["event"] == "step_finished" and e["step"] < 2), ["cached", "ran"], "steps")


@test
def the_work_of_a_killed_owner_is_taken_over_at_once(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\n" + counting("a", "test $(wc -l < /count/a) -gt 1 || sleep 600")})
    owner = Running(w, context)
    wait_until(lambda: counted(w, "a") == 1, "the command runs")
    waiter = Running(w, context)
    time.sleep(0.5)
    owner.process.kill()
    begin = time.monotonic()
    owner.process.wait()
    waiter.wait()
    print(f"     taken over and done after {time.monotonic() - begin:.2f}s")
    equal(counted(w, "a"), 2, "how often the command ran")
    equal(waiter.hows, ["ran"], "the step of the one that waited")


@test
def when_the_owner_fails_the_others_run_the_step_and_show_its_output(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\n" + counting("a", "sleep 1; echo it is broken; exit 9")})
    builds = [Running(w, context) for _ in range(3)]
    begin = time.monotonic()
    for build in builds:
        contains(build.wait(4).text(), "it is broken")
    print(f"     three failures after {time.monotonic() - begin:.1f}s")
    equal(counted(w, "a"), 3, "how often the command ran")


@test
def STO_24_a_long_wait_says_what_for_and_ends_at_ctrl_c(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\n" + counting("a", "sleep 600")})
    owner = Running(w, context)
    wait_until(lambda: counted(w, "a") == 1, "the command runs")
    waiter = Running(w, context)
    time.sleep(3)
    waiter.process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    waiter.wait(130)
    print(f"     stopped waiting after {time.monotonic() - begin:.2f}s")
    equal([(e["what"], e["pid"]) for e in waiter.waits], [("the same step in another build", owner.process.pid)], "notices")
    equal(owner.process.poll(), None, "the owner's exit code")
    owner.process.send_signal(signal.SIGINT)
    owner.wait(130)


@test
def a_waiter_goes_on_when_the_owner_is_cancelled(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\n" + counting("a", "test $(wc -l < /count/a) -gt 1 || sleep 600")})
    owner = Running(w, context)
    wait_until(lambda: counted(w, "a") == 1, "the command runs")
    waiters = [Running(w, context) for _ in range(2)]
    time.sleep(0.5)
    owner.process.send_signal(signal.SIGINT)
    owner.wait(130)
    hows = sorted(sum((waiter.wait().hows for waiter in waiters), []))
    equal(hows, ["cached", "ran"], "steps of those that waited")
    equal(counted(w, "a"), 2, "how often the command ran")


@test
def STO_23_locked_caches_in_opposite_orders_do_not_wait_for_each_other(w):
    need_root()
    w.busybox()

    def mounts(*names):
        return "".join(f"--mount=type=cache,sharing=locked,id={n},target=/{n} " for n in names)

    builds = []
    for number in range(6):
        order = ("a", "b", "c") if number % 2 == 0 else ("c", "b", "a")
        context = w.folder(f"context{number}", {"Dockerfile": f"FROM busybox\nRUN {mounts(*order)}echo {number} >> /a/log; sleep 0.1\n"
                                                              f"RUN {mounts(*reversed(order))}echo {number} >> /b/log; sleep 0.1\n"})
        builds.append(Running(w, context, "--jobs=1"))
    for build in builds:
        build.wait()


@test
def a_locked_cache_that_is_mounted_twice_does_not_wait_for_itself(w):
    need_root()
    w.busybox()
    two = "--mount=type=cache,sharing=locked,id=x,target=/one --mount=type=cache,sharing=locked,id=x,target=/two "
    mixed = "--mount=type=cache,id=y,target=/three --mount=type=cache,sharing=locked,id=y,target=/four "
    context = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN {two}{mixed}echo 1 > /one/f && cat /two/f && echo 1 > /three/f && cat /four/f\n"})
    Running(w, context).wait(timeout=60)


@test
def FLT_13_a_locked_cache_is_free_within_a_second_when_its_user_is_killed(w):
    need_root()
    w.busybox()
    mount = "RUN --mount=type=cache,sharing=locked,id=count,target=/count "
    first = w.folder("first", {"Dockerfile": f"FROM busybox\n{mount}echo x >> /count/a; sleep 600\n"})
    second = w.folder("second", {"Dockerfile": f"FROM busybox\n{mount}echo x >> /count/b\n"})
    owner = Running(w, first)
    wait_until(lambda: counted(w, "a") == 1, "the command runs")
    waiter = Running(w, second)
    time.sleep(2.5)
    equal(counted(w, "b"), 0, "uses of the locked cache beside its owner")
    owner.process.kill()
    begin = time.monotonic()
    wait_until(lambda: counted(w, "b") == 1, "the second command has the cache", 10)
    print(f"     the cache was free after {time.monotonic() - begin:.2f}s")
    waiter.wait()
    equal([e["what"] for e in waiter.waits], ["the cache count"], "notices")


@test
def a_layer_is_pulled_and_extracted_once_for_all_builds(w):
    need_root()
    layout = w.path / "layout"
    big = w.folder("big", {"Dockerfile": "FROM scratch\nCOPY busybox /bin/busybox\nCOPY data /data\nRUN [\"/bin/busybox\", \"true\"]\n",
                           "data": os.urandom(300_000), "busybox": pathlib.Path("/bin/busybox").read_bytes()})
    os.chmod(big / "busybox", 0o755)
    Running(w, big, "-o", f"type=oci,tar=false,dest={layout}", store=w.path / "other").wait()
    registry = Registry(layout)
    try:
        for digest, _ in registry.layers():
            registry.fail(digest, Stall(100, 1))
        context = w.folder("context", {"Dockerfile": f"FROM {registry.address}/some/image\nRUN [\"/bin/busybox\", \"touch\", \"/x\"]\n"})
        builds = [Running(w, context, "--source-date-epoch=1000000000") for _ in range(3)]
        equal(len({build.wait().out for build in builds}), 1, "different digests")
        for digest, _ in registry.layers():
            equal(registry.requests[digest], 1, f"requests for layer {digest}")
    finally:
        registry.close()


@test
def a_url_that_two_stages_add_is_fetched_once(w):
    need_root()
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            time.sleep(0.5)
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/file"
        context = w.folder("context", {"Dockerfile": f"FROM scratch AS a\nADD {url} /1\nFROM scratch AS b\nADD {url} /2\n"
                                                     "FROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n"})
        Running(w, context, "--jobs=4").wait()
        equal(requests, ["/file"], "requests")
    finally:
        server.shutdown()
        server.server_close()


@test
def a_url_that_two_builds_add_at_once_is_sent_once(w):
    answers = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.headers.get("If-None-Match") == '"one"'
            answers.append(304 if known else 200)
            time.sleep(0 if known else 1)
            self.send_response(answers[-1] if known else 200)
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", "0" if known else "5")
            self.end_headers()
            if not known:
                self.wfile.write(b"hello")

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        contexts = [w.folder(f"context{n}", {"Dockerfile": f"FROM scratch\nADD http://127.0.0.1:{server.server_address[1]}/file /{n}\n"})
                    for n in range(2)]
        for build in [Running(w, context) for context in contexts]:
            build.wait()
        equal(sorted(answers), [200, 304], "answers")
    finally:
        server.shutdown()
        server.server_close()


@test
def a_build_that_finds_everything_locks_no_step(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN true\nCOPY Dockerfile /d\nWORKDIR /w\n"})
    w.build(context)
    before = listing(w.store / "locks")
    for name in before:
        (w.store / "locks" / name).unlink()
    equal(w.build(context).ran, [], "steps that ran")
    equal("steps" in before, True, "steps were locked when they ran")
    equal([name for name in listing(w.store / "locks") if name in ("steps", "layers", "indexes", "pulls")], [], "locks of a build that only looks")


if __name__ == "__main__":
    run()
