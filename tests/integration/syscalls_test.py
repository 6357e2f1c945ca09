"""FLT-27: old kernels and the filters of outer containers lack system calls; builds are the same without them."""
import os

from case_files import Image
from harness import contains, equal, need_root, run, skip, test

DENY = os.environ.get("DENY_SYSCALLS", "")
NEWER = "openat2,clone3,close_range,pidfd_open,mount_setattr"

DOCKERFILE = """FROM busybox AS base
RUN mkdir -p /real/dir /etc/links && ln -s /real /current && ln -s ../../real/dir /etc/links/rel
FROM base
WORKDIR /current/dir
COPY --chown=1:2 f /copied/
RUN --mount=type=cache,target=/var/cache/x --mount=type=secret,id=s --mount=target=/src,rw \\
    test "$(cat /run/secrets/s)" = hush && cat /src/f > here && echo x > /var/cache/x/y && echo lost > /src/lost && \\
    ! touch /proc/sys/kernel/x 2>/dev/null && ! test -s /proc/timer_list && ls /proc/self/fd | wc -l > /fds && \\
    grep -c Seccomp: /proc/self/status > /status && mount | grep -c ' /proc/sys .*(ro,nosuid,nodev,noexec' > /mounts
WORKDIR /etc/links/rel
RUN pwd -P > /pwd && rm /real/dir/here && mkdir /new && chmod 1777 /new
"""


def need_filter():
    if not DENY or not os.access(DENY, os.X_OK):
        skip("needs the program deny-syscalls (DENY_SYSCALLS)")


def build(w, name, prefix=(), **options):
    w.prefix = list(prefix)
    w.store = w.path / f"store-{name}"
    w.busybox()
    (w.path / "secret").write_text("hush")
    context = w.folder("context", {"Dockerfile": DOCKERFILE, "f": "text\n"})
    archive = w.path / f"{name}.tar"
    w.build(context, "--secret", f"id=s,src={w.path}/secret", "--source-date-epoch", "1000000000", "-o", archive, **options)
    return Image(archive)


def layers(image):
    """Those above the base, which has its own times."""
    return [layer["digest"] for layer in image.manifest["layers"]][-6:]


@test
def FLT_27_without_newer_system_calls_the_image_is_the_same(w):
    need_root()
    need_filter()
    expected = build(w, "all")
    equal(expected.read("/pwd"), b"/real/dir\n", "working directory behind a link")
    # A C library that gets EPERM for clone3 cannot start a thread, so no program can do without it then.
    for error, calls in (("ENOSYS", NEWER), ("EPERM", NEWER.replace("clone3,", ""))):
        image = build(w, f"none-{error}", [DENY, error, calls])
        equal(layers(image), layers(expected), f"layers with {error}")
    for call in NEWER.split(","):
        equal(layers(build(w, call, [DENY, "ENOSYS", call])), layers(expected), f"layers without {call}")


@test
def FLT_27_an_ordinary_user_needs_no_newer_calls_either_but_one(w):
    from unprivileged_test import ordinary_user
    need_filter()
    ordinary_user(w)
    user = w.prefix
    expected = build(w, "all", user)
    image = build(w, "none", [DENY, "ENOSYS", NEWER.replace(",mount_setattr", ""), *user])
    equal(layers(image), layers(expected), "layers")


@test
def without_openat2_links_of_an_image_still_lead_nowhere(w):
    need_root()
    need_filter()
    w.prefix = [DENY, "EPERM", NEWER.replace("clone3,", "")]
    w.busybox()
    canary = w.path / "canary"
    canary.mkdir()
    before = canary.stat().st_mtime_ns
    # A link in place of a directory of the sandbox, a working directory through a descriptor, and a magic link (ATK-2, ATK-6).
    for lines, part in ((f"RUN rm -rf /dev; ln -s {canary} /dev\nRUN true\n", "/dev"),
                        ("WORKDIR /proc/self/fd/8\nRUN pwd\n", ""), ("WORKDIR /proc/1/root/etc\nRUN pwd\n", "")):
        result = w.build(w.folder("context", {"Dockerfile": "FROM busybox\n" + lines}), ok=None)
        if result.code == 0 and "RUN pwd" in "".join(result.ran):
            raise AssertionError(f"{lines!r} was built: {result!r}")
    equal(list(canary.iterdir()), [], "what appeared outside")
    equal(canary.stat().st_mtime_ns, before, "time of the directory outside")
    # Links that stay inside work, for targets of mounts as well.
    w.build(w.folder("inside", {"Dockerfile": "FROM busybox\nRUN mkdir /d && ln -s /d /l\n"
                                "RUN --mount=type=tmpfs,target=/l/t touch /l/t/x && test -e /d/t/x\n"}))


@test
def what_cannot_be_done_without_is_said(w):
    need_root()
    need_filter()
    w.prefix = [DENY, "ENOSYS", "fsopen,move_mount,open_tree"]
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\nRUN [\"/x\"]\n"})
    result = w.run("build", context, ok=False)
    if result.code not in (4, 7, 8):
        raise AssertionError(f"no clear answer: {result!r}")
    contains(result.err, "error:")
    w.run("build", w.folder("copy", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}))


@test
def a_filter_no_program_can_live_with_is_named(w):
    need_root()
    need_filter()
    w.prefix = [DENY, "EPERM", "clone3"]
    result = w.run("build", w.folder("context", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}), ok=False)
    equal(result.code, 7, "exit code")
    contains(result.err, "clone3")


if __name__ == "__main__":
    run()
