"""The same layers with fuse-overlayfs as with the kernel's overlays and with plain copies; and what happens when it dies.

A mount namespace of its own gives the file /dev/fuse that everybody may open, as on most desktops.
"""
import os
import pathlib
import re
import signal
import subprocess
import time

from attack_support import Tar, build_on
from bases import client_base
from ca_bundle_test import authority
from case_files import Image
from environments import UID
from harness import Workspace, command, contains, equal, need, run, skip, test
from private_mounts import enter_private_mounts, need_private_mounts
from processes import gone, leftovers, mounts, processes_with, start, start_and_wait
from tiers_test import program_for_all, without_capabilities
from unprivileged_test import ordinary_user

EPOCH = "1000000000"
FUSE, OVERLAY, COPY = "--snapshotter=fuse-overlayfs", "--snapshotter=overlay", "--snapshotter=copy"

# Three layers below what each of these does.
BELOW = """FROM tools AS base
RUN mkdir -p /d/e/f /gone/deep && echo 1 > /d/x && echo 2 > /d/e/y && echo 3 > /d/e/f/z && echo g > /gone/deep/g && ln -s x /d/l \\
 && echo h > /h1 && ln /h1 /h2 && mkfifo /pipe && chown 7:8 /d/e/y
RUN echo 4 > /d/e/new && rm /d/e/f/z && mkdir /d/s && echo s > /d/s/s
COPY f /d/copied
RUN rm -r /gone && mkdir /gone && echo again > /gone/a
FROM base
"""
CASES = [
    ("create", "RUN mkdir -p /a/b && echo x > /a/b/f && ln -s f /a/b/l && ln /a/b/f /a/h && mkfifo /a/p\n"),
    ("delete", "RUN rm /d/x /d/l /pipe && rm -r /d/s && rm /d/e/new /d/copied\n"),
    ("delete what was made", "RUN touch /d/t && mkdir /d/u && rm /d/t && rmdir /d/u\nRUN echo 1 > /m\n"),
    ("rename a file", "RUN mv /d/x /d/x2 && mv /h1 /d/h\n"),
    ("rename a directory", "RUN mv /d /moved && mkdir /n && mv /n /n2\n"),
    ("opaque directory", "RUN rm -r /d/e && mkdir /d/e && echo k > /d/e/y\nRUN echo l > /d/e/l\n"),
    ("nested deletions", "RUN rm -r /d && mkdir -p /d/e && touch /d/e/n\nRUN rm -r /d/e && mkdir -p /d/e/f && touch /d/e/f/z\nRUN rm -r /d\n"),
    ("hard links", "RUN ln /h1 /h3 && echo more >> /h1\nRUN ln /d/x /h4 && ln /h4 /h5 && rm /h4 /h3\n"),
    ("modes and owners", "RUN chmod 4711 /d/x && chown 3:4 /d/e/y && chmod 700 /d/s && chown 5:6 /d/s && chown -h 9:9 /d/l && touch -d @5 /d/copied\n"),
    ("nothing really", "RUN chmod 644 /d/x && chown 0:0 /d/e/new && cp -p /d/copied /t && cat /t > /d/copied && touch -r /t /d/copied && rm /t\n"),
    ("attributes", "RUN setfattr -n user.a -v 1 /d/x && setfattr -n user.b -v 2 /d/s && setcap cap_net_raw+ep /d/copied\n"
                   "RUN echo more >> /d/x && chmod 700 /d/s && echo more >> /d/copied\n"),
    ("link over directory", "RUN rm -r /d/s && ln -s e /d/s && test -e /d/s/y\nRUN rm /d/s && mkdir /d/s && touch /d/s/new\n"),
    ("file over directory", "RUN rm -r /d/e && echo file > /d/e\nRUN rm /d/e && mkdir /d/e && touch /d/e/y\n"),
    ("directory over file", "RUN rm /d/x && mkdir /d/x && touch /d/x/y\n"),
    ("append and shorten", "RUN echo more >> /d/x && : > /d/copied && dd if=/dev/zero of=/sparse bs=1 count=1 seek=9999999 2>/dev/null\n"),
    ("another user", "RUN mkdir /home/u && chown 1000:1000 /home/u && chmod 1777 /d\nUSER 1000\nRUN id -u > /home/u/id && echo m > /d/mine && ! echo x 2>/dev/null > /d/x\n"),
    ("copy after run", "RUN rm /d/x && mkdir /out && echo o > /out/o\nFROM tools\nRUN mkdir /out && echo p > /out/p\nCOPY --from=1 /out /out/\nCOPY --from=1 /d /d/\nRUN rm /out/p && echo q >> /out/o\n"),
    ("mounts", "RUN --mount=type=cache,target=/c --mount=type=bind,target=/b --mount=type=tmpfs,target=/t --mount=type=secret,id=s "
               "echo 1 > /c/n && cp /b/f /copied && touch /t/x && ls /t > /listed && test -s /run/secrets/s\n"
               "RUN --mount=from=base,target=/from --mount=from=base,source=/d,target=/rw,rw cp /from/d/x /x && echo w > /rw/w && ls /rw > /ls\n"),
    ("set-id bits fall", "RUN chmod 6755 /d/x /d/copied && chown 1000 /d/x && echo x >> /d/copied && stat -c '%n %a %u' /d/x /d/copied > /modes\n"),
]


def need_fuse():
    need_private_mounts()
    need("fuse-overlayfs")
    need("setfattr")
    need("setcap")
    if not os.path.exists("/dev/fuse"):
        skip("/dev/fuse is missing")
    node = pathlib.Path("/srv")  # covered in this namespace only
    if not os.path.ismount("/dev/fuse"):
        command("mount", "-t", "tmpfs", "-o", "size=64k", "none", node)
        os.mknod(node / "fuse", 0o020666, os.makedev(10, 229))
        os.chmod(node / "fuse", 0o666)
        command("mount", "--bind", node / "fuse", "/dev/fuse")
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        skip(f"/dev/fuse does not open: {error}")


def version():
    """(1, 10)"""
    said = command("fuse-overlayfs", "--version")
    return tuple(map(int, re.search(r"fuse-overlayfs: version (\d+)\.(\d+)", (said.stdout + said.stderr).decode()).groups()))


def servers():
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "exe").endswith("/fuse-overlayfs"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def no_servers(within=5):
    deadline = time.monotonic() + within
    while servers():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def tools(w):
    """busybox, and what sets attributes; one archive for every store of this workspace."""
    archive = w.path / "tools.tar"
    if not archive.exists():
        w.busybox()
        client_base(w, "setfattr", "setcap", name="tools")
        w.run("build", "-q", "-o", f"type=docker,name=tools,dest={archive}", w.folder("again", {"Dockerfile": "FROM tools\n"}))
        os.chmod(archive, 0o644)
    return archive


def layers(w, context, name, *options):
    archive = w.path / "out.tar"
    words = ["build", "--progress=plain", "--source-date-epoch", EPOCH, "--secret", f"id=s,src={context}/f", *options,
             "-f", context / f"{name}.Dockerfile", "-o", archive, context]
    # Before 1.15 mkdir sometimes fails where a directory was just removed (docs/tiers.md); then the step fails, too.
    tries = 5 if FUSE in options and version() < (1, 15) else 1
    for number in range(1, tries + 1):
        done = w.run(*words, ok=None if number < tries else True)
        if done.code == 0:
            break
        contains(done.err, "can't create directory")
    return [layer["digest"] for layer in Image(archive).manifest["layers"]]


def contexts(w):
    context = w.folder("context", {"f": "text\n", ".dockerignore": "*.Dockerfile\n",
                                   **{f"{name}.Dockerfile": BELOW + text for name, text in CASES}})
    for path in [context, *context.iterdir()]:
        os.utime(path, (1, 900000000))
    return context


def same_everywhere(w, who):
    archive, context = tools(w), contexts(w)
    if who == "user":
        ordinary_user(w)
    found, wrong = {}, []
    for option in (OVERLAY, FUSE, COPY):
        w.store = w.path / f"store-{who}-{option[14:]}"
        w.run("load", "-i", archive)
        for name, _ in CASES:
            found[name, option] = layers(w, context, name, option)
    for name, _ in CASES:
        for option in (FUSE, COPY):
            if found[name, option] != found[name, OVERLAY]:
                wrong.append((name, option))
    equal(wrong, [], "other layers than with the kernel's overlays")
    equal(len({tuple(digests) for digests in found.values()}), len(CASES), "different images")
    equal(leftovers(w.store.parent / f"store-{who}-fuse-overlayfs"), [], "leftovers")
    equal(no_servers(), True, "every server has ended")


@test
def root_gets_the_same_layers_from_all_three(w):
    need_fuse()
    before = mounts()
    same_everywhere(w, "root")
    equal(mounts(), before, "mounts")


@test
def a_user_gets_the_same_layers_from_all_three(w):
    need_fuse()
    before = mounts()
    same_everywhere(w, "user")
    equal(mounts(), before, "mounts")


@test
def a_user_with_one_id_gets_the_same_layers_from_all_three(w):
    need_fuse()
    archive = tools(w)
    program_for_all(w)
    w.program = w.path / "imgbuild"
    context = w.folder("one-id", {"f": "text\n", ".dockerignore": "*.Dockerfile\n", "one.Dockerfile":
                                  "FROM tools\nCOPY --chown=33:34 f /o/f\nRUN echo more >> /o/f && touch /o/new && mkdir /e && rm /etc/group\n"
                                  "RUN rm -r /o && mkdir /o && echo n > /o/g && rm -r /home && mkdir -p /home/x\n"})
    os.chown(w.path, UID, UID)
    w.environment["HOME"] = str(w.path)
    w.prefix = without_capabilities(UID)
    found = {}
    for option in (OVERLAY, FUSE, COPY):
        w.store = w.path / f"store-{option[14:]}"
        w.run("load", "-i", archive)
        found[option] = layers(w, context, "one", option)
    contains(w.run("doctor", FUSE).out, "* T2")
    equal(found[FUSE], found[OVERLAY], "layers")
    equal(found[COPY], found[OVERLAY], "layers of plain copies")


def writers_in_turns(w):
    """What one extracts or writes is a lower directory of the other."""
    archive, context = tools(w), contexts(w)
    text = BELOW + "".join(f"RUN rm -r /d/e && mkdir /d/e && echo {i} > /d/e/{i} && rm -f /d/s/s && echo {i} >> /d/copied\nRUN ls -lR /d | grep -v : > /seen{i}\n"
                           for i in range(4))
    wanted = None
    for order in ((OVERLAY,) * 4, (FUSE, OVERLAY) * 2, (OVERLAY, FUSE) * 2):
        w.store = w.path / f"store-{order[0][14:]}-{order[1][14:]}"
        w.run("load", "-i", archive)
        for step, option in enumerate(order, 1):
            (context / "turns.Dockerfile").write_text("\n".join(text.split("\n")[:8 + 2 * step]) + "\n")
            digests = layers(w, context, "turns", option)
        wanted = wanted or digests
        equal(digests, wanted, f"layers of {order}")
        w.run("fsck")


@test
def root_may_change_between_them_on_one_store(w):
    need_fuse()
    writers_in_turns(w)


@test
def a_user_may_change_between_them_on_one_store(w):
    need_fuse()
    tools(w)
    contexts(w)
    ordinary_user(w)
    command("chown", "-R", f"{w.run_as.pw_uid}", w.path / "context")
    writers_in_turns(w)


@test
def a_deep_image_and_added_certificates(w):
    need_fuse()
    archive = tools(w)
    ca, _ = authority(w)
    copies = "".join(f"COPY f /n/{i % 7}/{i}\n" for i in range(90))
    context = w.folder("deep", {"f": "text\n", "deep.Dockerfile": f"FROM tools\nCOPY f /etc/ssl/certs/ca-certificates.crt\n{copies}"
                                "RUN ls -R /n | wc -l > /count && rm /n/3/3 && rm -r /n/4 && grep -q BEGIN /etc/ssl/certs/ca-certificates.crt\n"})
    os.utime(context / "f", (1, 900000000))
    found = {}
    for option in (OVERLAY, FUSE):
        w.store = w.path / f"store-{option[14:]}"
        w.run("load", "-i", archive)
        found[option] = layers(w, context, "deep", option, "--ca-bundle", ca)
    equal(found[FUSE], found[OVERLAY], "layers")


@test
def a_server_that_dies_fails_the_step_and_nothing_else(w):
    need_fuse()
    w.run("load", "-i", tools(w))
    context = w.folder("killed", {"Dockerfile": "FROM tools\nRUN echo 1 > /a && sleep ${S:-41721} ; echo 2 > /b ; true\n"})
    before = mounts()
    process = start_and_wait(w, context, "41721", FUSE, "--progress=plain")
    [server] = servers()
    status = pathlib.Path(f"/proc/{server}/status").read_text()
    contains(status, "NoNewPrivs:\t1")
    for fd in pathlib.Path(f"/proc/{server}/fd").iterdir():
        target = os.readlink(fd)
        known = (str(w.path), "/dev/fuse", "/dev/null", "pipe:")
        equal(target.startswith(known), True, f"descriptor of the server: {target}")
    equal(pathlib.Path(f"/proc/{server}/environ").read_bytes(), b"LC_ALL=C\0", "its environment")
    os.kill(server, signal.SIGKILL)
    [asleep] = processes_with("sleep\00041721")
    os.kill(asleep, signal.SIGTERM)
    error = process.communicate(timeout=30)[1].decode()
    equal(process.returncode, 7, f"exit code; it said {error}")
    contains(error, "fuse-overlayfs, which shows a command its files, failed: it was killed by signal 9")
    equal(gone("sleep\00041721"), True, "the command is gone")
    equal(leftovers(w.store), [], "leftovers")
    equal(mounts(), before, "mounts")
    (context / "Dockerfile").write_text("FROM tools\nRUN echo 1 > /a && sleep 0 ; echo 2 > /b ; true\n")
    w.run("build", "--progress=plain", FUSE, context)


@test
def nothing_is_left_after_a_kill_or_an_interrupt(w):
    need_fuse()
    w.run("load", "-i", tools(w))
    context = w.folder("killed", {"Dockerfile": "FROM tools\nRUN --mount=from=tools,target=/t,rw echo 1 > /a && sleep 41722\n"})
    before = mounts()
    for sign in (signal.SIGKILL, signal.SIGINT):
        process = start_and_wait(w, context, "41722", FUSE, "--progress=plain")
        equal(len(servers()), 2, "servers: of the root and of the mount")
        process.send_signal(sign)
        process.communicate(timeout=30)
        equal(process.returncode, -sign if sign == signal.SIGKILL else 130, "exit code")
        equal(no_servers(), True, "every server has ended")
        equal(gone("sleep\00041722"), True, "the command is gone")
        equal(mounts(), before, "mounts")
    w.run("build", "--progress=plain", FUSE, w.folder("after", {"Dockerfile": "FROM tools\nRUN echo 1 > /a\n"}))
    equal(leftovers(w.store), [], "leftovers after the next start")


@test
def a_failing_command_leaves_nothing(w):
    need_fuse()
    w.run("load", "-i", tools(w))
    done = w.run("build", "--progress=plain", FUSE, w.folder("c", {"Dockerfile": "FROM tools\nRUN echo 1 > /a && exit 3\n"}), ok=False)
    equal(done.code, 4, "exit code")
    contains(done.err, "exit code: 3")
    equal(no_servers(), True, "every server has ended")
    equal(leftovers(w.store), [], "leftovers")


@test
def names_and_attributes_of_its_own_are_never_content(w):
    need_fuse()
    w.run("load", "-i", tools(w))
    for made, code in (("touch /.wh.x", 4), ("touch /n && mv /n /.wh.x", 1), ("mkdir /d/.wh.x", 1), ("ln -s a /d/.wh..wh..opq", 1),
                       ("setfattr -n user.fuseoverlayfs.opaque -v y /d", 4)):
        done = w.run("build", "--progress=plain", FUSE, w.folder("c", {"Dockerfile": f"FROM tools\nRUN mkdir /d && echo x > /d/x\nRUN {made}\n"}), ok=False)
        equal(done.code, code, f"exit code after {made}: {done.err}")
        if code == 1:
            contains(done.err, "a layer cannot hold a file whose name starts with .wh.")
    context = w.folder("c", {"c.Dockerfile": "FROM tools\nRUN mkdir /d && echo x > /d/x\n"
                                             "RUN setfattr -n user.overlay.opaque -v y /d && setfattr -n user.overlay.redirect -v /bin /d && setfattr -n user.a -v y /d && touch /d/y\n",
                             "f": "text\n"})
    found = {}
    for option in (OVERLAY, FUSE):
        w.store = w.path / f"store-{option[14:]}"
        w.run("load", "-i", w.path / "tools.tar")
        found[option] = layers(w, context, "c", option)
    equal(found[FUSE], found[OVERLAY], "layers")


@test
def attributes_of_a_base_image_steer_nothing_atk_59(w):
    need_fuse()
    lower = Tar().dir("secret").add("secret/f", b"hidden").dir("d").add("d/low", b"low")
    for name, value in (("trusted.overlay.opaque", "y"), ("trusted.overlay.redirect", "/secret"), ("user.overlay.opaque", "y"),
                        ("user.fuseoverlayfs.opaque", "y"), ("user.containers.override_stat", "1:2:0777")):
        upper = Tar().pax({f"SCHILY.xattr.{name}": value}).dir("d").add("d/high", b"high")
        build_on(w, [lower.end(), upper.end()], "RUN ls /d > /out && stat -c %u:%a /d >> /out", FUSE, "-o", w.path / "out.tar", ok=True)
        equal(Image(w.path / "out.tar").read("/out"), b"high\nlow\n0:755\n", f"the folder with {name}")


@test
def what_differs_is_as_the_documentation_says(w):
    need_fuse()
    if "version 1.10" not in command("fuse-overlayfs", "--version").stdout.decode():
        skip("written down for fuse-overlayfs 1.10")
    archive, context = tools(w), contexts(w)
    w.run("load", "-i", archive)
    (context / "pipe.Dockerfile").write_text(BELOW + "RUN chmod 600 /pipe ; true\n")
    done = w.run("build", "--progress=plain", FUSE, "-f", context / "pipe.Dockerfile", context, ok=False)
    equal(done.code, 8, "exit code for a changed pipe")
    contains(done.err, "fuse-overlayfs made a file of pipe")
    (context / "link.Dockerfile").write_text(BELOW + "RUN chown -h 3:4 /d/l\nRUN mv /d/l /moved\n")
    (context / "names.Dockerfile").write_text(BELOW + "RUN ln /h1 /h3\nRUN ln /h3 /h4 && rm /h3\n")
    links = {}
    for option in (OVERLAY, FUSE):
        layers(w, context, "names", option, "--no-cache")
        links[option] = Image(w.path / "out.tar").layer_names()[-1]
    equal(links, {OVERLAY: ["/.wh.h3", "/h4"], FUSE: ["/.wh.h3", "/h1", "/h2", "/h4"]}, "a link to a file of several names")
    (context / "device.Dockerfile").write_text(BELOW + "RUN ! mknod /d/e/zero c 0 0 2> /said && ls -A /d/e > /seen\n")
    seen = {}
    for option in (OVERLAY, FUSE):
        layers(w, context, "device", option, "--no-cache")
        seen[option] = [Image(w.path / "out.tar").read(path) for path in ("/said", "/seen")]
    equal(seen, {OVERLAY: [b"mknod: /d/e/zero: Operation not permitted\n", b"f\nnew\ny\n"],
                 FUSE: [b"mknod: /d/e/zero: No such file or directory\n", b""]}, "the device 0:0, and the directory after that")
    owners = {}
    for option in (OVERLAY, FUSE):
        layers(w, context, "link", option, "--no-cache")
        [moved] = [m for m in list(Image(w.path / "out.tar").layers())[-1].getmembers() if m.name == "moved"]
        owners[option] = (moved.uid, moved.gid)
    equal(owners, {OVERLAY: (3, 4), FUSE: (0, 0)}, "owner of a link of the image that was moved")


@test
def what_is_missing_is_said(w):
    need_fuse()
    w.run("load", "-i", tools(w))
    context = w.folder("c", {"Dockerfile": "FROM tools\nRUN rm /etc/group && mkdir /a\n"})
    there = "fuse-overlayfs is there" if version() >= (1, 16) else "it is used only with --snapshotter=fuse-overlayfs"
    contains(w.run("doctor").out, there)
    command("mount", "--bind", "/dev/null", "/dev/fuse")
    try:
        done = w.run("build", "--progress=plain", FUSE, context, ok=False)
        contains(w.run("doctor").out, "no fuse-overlayfs: /dev/fuse is not the device of FUSE")
    finally:
        command("umount", "/dev/fuse")
    equal(done.code, 8, "exit code")
    contains(done.err, "fuse-overlayfs snapshots cannot be had: /dev/fuse is not the device of FUSE")
    done = w.run("build", "--snapshotter=fuse", context, ok=False)
    equal(done.code, 2, "exit code of a word that is none")
    contains(done.err, "--snapshotter is auto, overlay, fuse-overlayfs or copy")


@test
def it_takes_the_place_of_overlays_the_kernel_does_not_have(w):
    need_fuse()
    preload = os.environ.get("FAULT_PRELOAD")
    if not preload or not os.path.exists(preload):
        skip("FAULT_PRELOAD names no library")
    archive = tools(w)
    w.store = w.path / "fresh"  # what was tried once is not tried again
    w.run("load", "-i", archive)
    context = w.folder("c", {"Dockerfile": "FROM tools\nRUN rm /etc/group && mkdir /a && head -1 /proc/self/mounts\n"})
    without = {"LD_PRELOAD": preload, "FAULT_NO_FS": "overlay"}
    reason = "no overlay: prepare a file system of type overlay: No such device"
    build = ["build", "--progress=plain", "--no-cache", context]
    defect = "fuse-overlayfs %d.%d can lose or repeat names" % version()
    if version() < (1, 16):  # then only when asked for
        done = w.run(*build, env=without)
        contains(done.err, f"copy snapshots; {reason}; no fuse-overlayfs: {defect}")
        doctor = w.run("doctor", env=without).out
        contains(doctor, f"snapshots:   copy ({reason}")
        contains(doctor, f"no fuse-overlayfs: {defect}")
        build.append(FUSE)
        contains(w.run(*build, env=without).err, f"fuse-overlayfs snapshots; no overlay: excluded by {FUSE}; {defect}")
        contains(w.run("doctor", FUSE, env=without).out, "snapshots:   fuse-overlayfs (")
    else:
        contains(w.run("doctor", env=without).out, "snapshots:   fuse-overlayfs (" + reason)
        contains(w.run(*build, env=without).err, "fuse-overlayfs snapshots; " + reason)
    contains(w.run(*build, env=without).err, "fuse-overlayfs / fuse.fuse-overlayfs")
    command("mount", "--bind", "/dev/null", "/dev/fuse")
    try:
        done = w.run("build", "--progress=plain", "--no-cache", context, env=without)
        refused = w.run("build", FUSE, "--no-cache", context, env=without, ok=False)
    finally:
        command("umount", "/dev/fuse")
    contains(done.err, f"copy snapshots; {reason}; no fuse-overlayfs: /dev/fuse is not the device of FUSE")
    equal(refused.code, 8, "exit code where fuse-overlayfs was asked for")
    done = w.run("build", "--progress=plain", "--no-cache", OVERLAY, context, env=without, ok=False)
    equal(done.code, 8, "exit code where overlays were asked for")


if __name__ == "__main__":
    enter_private_mounts()
    run()
