"""A command starts while the layer of the command before it is still being written (docs/adr/0015)."""
import time

from case_files import Image
from flight_test import Running, counted, counting, wait_until
from harness import contains, equal, need_root, run, test
from store_check import corrupt_blobs, unfinished
from unprivileged_test import ordinary_user

# Packing these takes long enough for a command to start meanwhile, on any machine.
LARGE = "dd if=/dev/urandom of={} bs=1M count={} 2>/dev/null"


def places(result, step, event):
    """Where in the list of events something happened."""
    return [i for i, e in enumerate(result.events) if e["event"] == event and e["step"] == step]


def overlapped(result, step):
    """Whether the step after `step` began before that one was done."""
    return places(result, step + 1, "step_started")[0] < places(result, step, "step_finished")[0]


def all_kinds():
    """Commands that see, change and hide all kinds of things that the one before made."""
    return ("FROM busybox\n"
            "RUN i=0; while [ $i -lt 20 ]; do cat /bin/busybox; i=$((i+1)); done > /big; mkdir -p /d/e /gone /etc; echo 1 > /d/e/f; "
            "echo 2 > /gone/x; echo 3 > /h1; ln /h1 /h2; ln -s /big /l; mkfifo /p; echo 'bob:x:1234:77::/:/bin/sh' > /etc/passwd; "
            "mkdir -p /tmp; chmod 1777 /tmp; cp /h1 /s; chmod 4755 /s; touch -d @1000000 /d /d/e/f\n"
            "RUN test -s /l && test -p /p && test $(stat -c %h /h2) = 2 && test $(stat -c %Y /d) = 1000000 || exit 1; rm -r /d/e && mkdir /d/e && echo 4 > /d/e/g; rm -r /gone; "
            "echo 5 >> /h2; chown bob /l; head -c 3000000 /big > /big2\n"
            "USER bob\n"
            "RUN test $(id -u) = 1234 && test \"$(cat /d/e/g /h2)\" = \"$(printf '4\\n3\\n5')\" && test ! -e /gone && cp /big2 /tmp/mine\n"
            "USER 0\n"
            "RUN rm /big /big2 && mv /tmp/mine /moved && echo done > /d/e/f\n")


def layers_of(archive):
    return [layer["digest"] for layer in Image(archive).manifest["layers"][-4:]]  # those below have the time they were made at


@test
def layers_are_the_same_whether_commands_overlap_or_not(w):
    need_root()
    context = w.folder("context", {"Dockerfile": all_kinds()})
    found = {}
    for who in ("root", "user"):
        if who == "user":
            ordinary_user(w)
        for jobs in ("8", "1"):
            w.store = w.path / f"store-{who}-{jobs}"
            w.busybox()
            archive = w.path / f"{who}-{jobs}.tar"
            result = w.build(context, "--source-date-epoch", "1000000000", f"--jobs={jobs}", "-o", archive)
            equal(len(result.ran), 4, "steps that ran")
            equal(overlapped(result, 0), jobs == "8", f"the second command ran while the first layer was written, {who}, {jobs} jobs")
            found[who, jobs] = layers_of(archive)
            equal(w.build(context, "--source-date-epoch", "1000000000").ran, [], "steps that run again")
            # The directories kept from the commands are what their layers say: a step on top of them sees the same.
            w.build(w.folder("more", {"Dockerfile": all_kinds() + "RUN test -s /moved && test ! -e /big && cat /d/e/f\n"}),
                    "--source-date-epoch", "1000000000")
            equal(unfinished(w.store), [], "unfinished things")
            equal(corrupt_blobs(w.store), [], "damaged blobs")
    equal(len({tuple(layers) for layers in found.values()}), 1, f"different layers: {found}")


@test
def where_a_directory_does_not_show_the_layer_the_next_command_waits(w):
    need_root()
    w.busybox()
    # A new name of a file below makes its other names links to it, but only in the layer (LAY-25).
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN echo 1 > /h1 && ln /h1 /h2\n"
                                   f"RUN {LARGE.format('/big', 50)}; ln /h1 /h3\n"
                                   "RUN test $(stat -c %h /h1) = 3 && test $(stat -c %h /h2) = 3\n"})
    result = w.build(context)
    equal(overlapped(result, 1), False, "steps overlap")


@test
def a_command_that_fails_does_not_cost_the_layer_before_it(w):
    need_root()
    w.busybox()
    first = "FROM busybox\n" + counting("a", LARGE.format("/big", 300))
    context = w.folder("context", {"Dockerfile": first + "RUN echo broken; exit 7\n"})
    result = w.build(context, ok=False)
    equal(result.code, 4, "exit code")
    contains(result.err, "broken")
    equal(overlapped(result, 0), True, "the second command ran while the layer was written")
    equal(len(result.ran), 1, "the first step is done")
    (context / "Dockerfile").write_text(first + "RUN true\n")
    equal([how for _, how in w.build(context).steps], ["cached", "ran"], "the next build")
    equal(counted(w, "a"), 1, "how often the first command ran")


@test
def a_layer_that_fails_ends_the_command_on_top_of_it(w):
    need_root()
    w.busybox()
    (w.path / "value").write_text("a secret that nobody may see\n")
    context = w.folder("context", {"Dockerfile": "FROM busybox\n"
                                   f"RUN --mount=type=secret,id=s {LARGE.format('/big', 30)}; cp /run/secrets/s /zz\n"
                                   "RUN sleep 600\n"})
    begin = time.monotonic()
    result = w.build(context, "--secret", f"id=s,src={w.path / 'value'}", ok=False, timeout=300)
    contains(result.err, "/zz")
    contains(result.err, "running step [2/3]")
    if time.monotonic() - begin > 120:
        raise AssertionError("the second command was not ended")
    equal(dict((e["step"], e["how"]) for e in result.events if e["event"] == "step_finished"), {0: "failed", 1: "skipped"}, "steps")
    equal(unfinished(w.store), [], "unfinished things")


@test
def a_build_that_is_stopped_or_killed_between_two_layers_leaves_nothing(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\n" + counting("a", LARGE.format("/big", 300)) +
                                   counting("b", "sleep 600")})
    for number, kill in enumerate(("terminate", "kill")):
        build = Running(w, context, "--no-cache")
        wait_until(lambda: counted(w, "b") == number + 1, "the second command runs")
        getattr(build.process, kill)()
        build.process.communicate(timeout=60)
    w.build(w.folder("other", {"Dockerfile": "FROM busybox\nRUN true\n"}))
    equal(unfinished(w.store), [], "unfinished things")
    equal(corrupt_blobs(w.store), [], "damaged blobs")


@test
def a_locked_cache_is_free_for_the_next_command(w):
    need_root()
    w.busybox()
    mount = "RUN --mount=type=cache,id=c,target=/c,sharing=locked "
    context = w.folder("context", {"Dockerfile": f"FROM busybox\n{mount}{LARGE.format('/big', 100)}; echo one > /c/x\n{mount}cat /c/x\n"})
    result = w.build(context)
    output = [i for i, e in enumerate(result.events) if e["event"] == "step_output" and e["step"] == 1]
    equal(output[0] < places(result, 0, "step_finished")[0], True, "the second command printed while the first layer was written")


@test
def builds_at_once_run_overlapping_commands_once(w):
    need_root()
    w.busybox()
    commands = "".join(counting(name, LARGE.format("/" + name, 8)) for name in "abc")
    for number, jobs in enumerate(("8", "1")):
        context = w.folder("context", {"Dockerfile": f"FROM busybox\nENV ROUND={number}\n{commands}"})
        builds = [Running(w, context, f"--jobs={jobs}") for _ in range(3)]
        results = [build.wait() for build in builds]
        equal([counted(w, name) for name in "abc"], [number + 1] * 3, "how often the commands ran")
        equal(sorted(sum((r.hows for r in results), [])), ["cached"] * 6 + ["ran"] * 3, "steps")


if __name__ == "__main__":
    run()
