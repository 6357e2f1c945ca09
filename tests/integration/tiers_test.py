"""The same Dockerfiles in every kind of place: each gives the right image, or says what is missing.

With TIERS_TABLE=FILE the result of the table is written there as Markdown.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

from ca_bundle_test import authority
from case_files import Image
from environments import UID, WITHOUT_NAMESPACES, Container, run_in
from harness import PROGRAM, contains, equal, need, need_root, run, skip, test
from unprivileged_test import ordinary_user

EPOCH = "1000000000"
CANARY = "canary-5f1c9e"

# Name, text, and what cannot be had where: {tier: part of the message}.
NO_RUN = {"T4": "RUN is not possible here"}
DOCKERFILES = [
    ("metadata", "FROM scratch\nLABEL a=b\nENV C=d\nWORKDIR /w/x\n", {}),
    ("copy", "FROM scratch\nCOPY f /dir/f\nCOPY --chown=33:34 --chmod=640 f /g\n", {}),
    ("add archive", "FROM scratch\nADD files.tar /into/\n", {}),
    ("copy from", "FROM busybox AS a\nCOPY f /in/a\nFROM scratch\nCOPY --from=a /in /bin/busybox /out/\n", {}),
    ("files", "FROM busybox\nRUN mkdir -p /a/b && echo x > /a/b/f && ln -s f /a/l && ln /a/b/f /a/h && mkfifo /a/p\n", NO_RUN),
    ("delete and rename", "FROM busybox\nRUN rm /etc/group && mv /etc/passwd /etc/p && rmdir /home && mkdir /home && touch /home/f\n", NO_RUN),
    ("several", "FROM busybox\nRUN echo 1 > /f\nCOPY f /g\nRUN cat /f /g > /h && rm /f && chmod 4711 /g\nRUN test ! -e /f && cp -a /h /i\n", NO_RUN),
    ("mounts", "FROM busybox\nRUN --mount=type=cache,target=/c --mount=type=bind,target=/b --mount=type=tmpfs,target=/t "
               "echo 1 >> /c/n && cp /b/f /copied && touch /t/x && ls /t > /listed\n"
               "RUN --mount=type=cache,target=/c wc -l < /c/n > /count\n", NO_RUN),
    ("secret variable", "FROM busybox\nRUN --mount=type=secret,id=s,env=S case \"$S\" in canary-*) ;; *) exit 1;; esac && echo ok > /ok\n", NO_RUN),
    ("here document", "FROM busybox\nRUN <<END\nset -e\necho a > /x\ncat /etc/hosts > /dev/null\nEND\n", NO_RUN),
    ("other user", "FROM busybox\nRUN mkdir /home/u && chown 1000:1000 /home/u\nUSER 1000\nRUN id -u > /home/u/id\n",
     {**NO_RUN, "T2": "exit code: 1"}),
    ("foreign owner", "FROM busybox\nCOPY --chown=33:33 f /o/f\nRUN echo more >> /o/f && touch /o/new\n", NO_RUN),
]


def context(w):
    folder = w.folder("shared/context", {"f": "text\n"})
    subprocess.run(["tar", "-C", str(folder), "--owner=0", "--group=0", "--mtime=@900000000", "-cf", str(folder / "files.tar"), "f"],
                   check=True)
    for name, text, _ in DOCKERFILES:
        (folder / f"{name}.Dockerfile").write_text(text)
    (folder / ".dockerignore").write_text("*.Dockerfile\n")
    (w.path / "shared/secret").write_text(CANARY)
    for path in (folder, w.path / "shared/secret"):
        os.chmod(path, 0o755)
    return folder


def base(w):
    """The busybox image as an archive that every store can load."""
    w.busybox()
    w.run("build", "-q", "-o", f"type=docker,name=busybox,dest={w.path}/shared/base.tar",
          w.folder("base-again", {"Dockerfile": "FROM busybox\n"}))
    os.chmod(w.path / "shared/base.tar", 0o644)


class Place:
    """Somewhere imgbuild runs: `call` takes its words and gives the finished process."""

    def __init__(self, name, tier, call, shared):
        self.name, self.tier, self.call, self.shared = name, tier, call, shared

    def build(self, dockerfile, *options):
        number = len(list(pathlib.Path(self.host_shared).glob("out-*")))
        out = f"{self.shared}/out-{number}.tar"
        done = self.call("build", "--progress=plain", "--source-date-epoch", EPOCH, "--secret", f"id=s,src={self.shared}/secret",
                         "-f", f"{self.shared}/context/{dockerfile}.Dockerfile", "-o", out, *options, f"{self.shared}/context")
        done.archive = pathlib.Path(self.host_shared, f"out-{number}.tar")
        return done


def on_host(w, prefix=(), program=PROGRAM, store="host"):
    def call(*words):
        done = subprocess.run([*prefix, str(program), *map(str, words)], capture_output=True, check=False, timeout=300,
                              env={**w.environment, "IMGBUILD_ROOT": str(w.path / "shared" / f"store-{store}"), "HOME": "/tmp"},
                              stdin=subprocess.DEVNULL, cwd=w.path)
        done.stdout, done.stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return done
    return call


def program_for_all(w):
    program = w.path / "imgbuild"
    if not program.exists():
        shutil.copy(PROGRAM, program)  # the build folder may be closed to others
        os.chmod(program, 0o755)
    return program


def without_capabilities(uid):
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all"]


def places(w):
    """All of them; each in a list of its own store."""
    need_root()
    (w.path / "shared").mkdir(exist_ok=True)
    os.chmod(w.path / "shared", 0o777)
    program = program_for_all(w)
    shared = str(w.path / "shared")
    out = [Place("host, root", "T0", on_host(w, store="root"), shared),
           Place("host, root, plain copies", "T0",
                 with_options(on_host(w, store="copies"), "--snapshotter=copy"), shared)]
    try:
        account = ordinary_user(w)
        w.prefix, w.program = [], PROGRAM
        out.append(Place("host, user with subordinate ids", "T1",
                         on_host(w, without_capabilities(account.pw_uid), program, "subids"), shared))
    except Exception as reason:  # a skip of this place only
        print(f"  left out: host, user with subordinate ids: {reason}")
    out.append(Place("host, user without subordinate ids", "T2",
                     on_host(w, without_capabilities(UID), program, "no-subids"), shared))
    no_namespaces = [sys.executable, "-c", WITHOUT_NAMESPACES]
    out.append(Place("host, user, no user namespaces", "T4", on_host(w, no_namespaces, program, "no-userns"), shared))
    for name, tier, options in (("Docker's defaults, root", "T3", {}),
                                ("Docker's defaults, user", "T4", {"uid": UID}),
                                ("container without filter and hidden paths, root", "T1", {"seccomp": False, "hidden_proc": False}),
                                ("container without filter, root", "T3", {"seccomp": False})):
        container = Container(w, **options)
        out.append(Place(name, tier, lambda *words, c=container: run_in(c, *words), "/shared"))
    for place in out:
        place.host_shared = shared
    return out


def with_options(call, *options):
    return lambda *words: call(words[0], *(options if words[0] == "build" else ()), *words[1:])


@test
def twelve_dockerfiles_in_nine_places_give_the_same_layers_or_the_reason(w):
    everywhere = places(w)
    context(w)
    base(w)
    wanted, rows, wrong = {}, [], []
    for place in everywhere:
        done = place.call("load", "-i", f"{place.shared}/base.tar")
        equal(done.returncode, 0, f"load in {place.name}: {done.stderr}")
        cells = []
        for name, _, impossible in DOCKERFILES:
            done = place.build(name)
            if place.tier in impossible:
                right = done.returncode != 0 and impossible[place.tier] in done.stderr
                cells.append("reason" if right else "WRONG")
            elif done.returncode == 0:
                layers = [layer["digest"] for layer in Image(done.archive).manifest["layers"]]
                right = wanted.setdefault(name, layers) == layers
                cells.append("image" if right else "WRONG")
            else:
                right = False
                cells.append("WRONG")
            if not right:
                wrong.append(f"{place.name}: {name}: exit {done.returncode}\n{done.stderr[-1500:]}")
        rows.append((place, cells))
    table = ["| place | tier | " + " | ".join(name for name, _, _ in DOCKERFILES) + " |", "|" + "---|" * (2 + len(DOCKERFILES))]
    table += [f"| {place.name} | {place.tier} | " + " | ".join(cells) + " |" for place, cells in rows]
    print("\n".join(table))
    if os.environ.get("TIERS_TABLE"):
        pathlib.Path(os.environ["TIERS_TABLE"]).write_text("\n".join(table) + "\n")
    if wrong:
        raise AssertionError("\n".join(wrong))


@test
def doctor_names_the_tier_of_each_place_and_how_to_climb(w):
    for place in places(w):
        done = place.call("doctor", "--format=json")
        equal(done.returncode, 0, f"doctor in {place.name}: {done.stderr}")
        report = json.loads(done.stdout)
        equal(report["tier"], place.tier, f"tier in {place.name}: {done.stdout}")
        for rung in report["ladder"]:
            # What keeps root from T1 keeps it from T2 as well, and is said once.
            if rung["tier"] < place.tier and rung["tier"] != "T2" and not rung["blocked_by"] and place.tier != "T4":
                raise AssertionError(f"{place.name}: nothing says why not {rung['tier']}: {done.stdout}")
        text = place.call("doctor").stdout
        contains(text, f"* {place.tier}")
        if place.tier in ("T2", "T4"):
            contains(text, "To get ")
        equal(report["launch_ns"] is None, place.tier == "T4", "launch measured")


@test
def a_build_that_cannot_run_commands_stops_before_its_first_step(w):
    """SBX-5"""
    context(w)
    base(w)
    container = Container(w, uid=UID)
    w.folder("shared/run", {"Dockerfile": "FROM scratch\nCOPY f /f\nRUN true\n", "f": "x"})
    done = run_in(container, "build", "--progress=json", "/shared/run")
    equal(done.returncode, 8, "exit code")
    equal([line for line in done.stderr.splitlines() if "step_started" in line], [], "steps that were started")
    contains(done.stderr, "Dockerfile:3")
    contains(done.stderr, "user namespaces cannot be created")


@test
def without_namespaces_a_command_reaches_neither_the_builder_nor_what_is_around_it_by_accident(w):
    """ATK-17, ATK-18, RLS-19"""
    context(w)
    base(w)
    container = Container(w)
    run_in(container, "load", "-i", "/shared/base.tar")

    def attempt(name, lines, *options, environment=None):
        w.folder(f"shared/{name}", {"Dockerfile": "FROM busybox\n" + lines})
        return run_in(container, "build", "--progress=plain", *options, "-o", f"/shared/{name}.tar", f"/shared/{name}",
                      environment=environment)

    done = attempt("look", "RUN ls /shared /imgbuild; ls -A /proc /sys; cat /proc/*/environ; "
                   "env; grep -c . /etc/resolv.conf; id -u\n", environment={"CANARY": "canary-in-the-builder"})
    equal(done.returncode, 0, done.stderr)
    if "canary-in-the-builder" in done.stderr:
        raise AssertionError("the builder's environment is visible:\n" + done.stderr)
    contains(done.stderr, "tier T3")
    files = {name for name in Image(w.path / "shared/look.tar").rootfs()}
    for name in ("/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hosts"):
        if name in files:
            raise AssertionError(f"{name} is in the image")
    # The way out of a chroot needs the right to change the root again.
    done = attempt("escape", "RUN chroot / true\n")
    contains(done.stderr, "ermitted")
    # What a command leaves running ends with the step.
    done = attempt("daemon", "RUN (setsid sleep 987 </dev/null >/dev/null 2>&1 &) ; (trap '' TERM HUP; sleep 987 &) ; sleep 0.2\n")
    equal(done.returncode, 0, done.stderr)
    if "sleep\0987" in "".join(p.read_text(errors="replace") for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if p.exists()):
        raise AssertionError("a background process lives on")
    done = attempt("kill", "RUN kill -9 -1; true\n")
    again = attempt("look", "RUN echo fine\n")
    equal(again.returncode, 0, "build after an attack: " + again.stderr)
    for lines, reason, *options in (("RUN --network=none true\n", "namespaces"), ("RUN --mount=type=tmpfs,target=/t,size=1m true\n", "size of the tmpfs"),
                                    ("RUN true\n", "--shm-size", "--shm-size=1m")):
        done = attempt("refused", lines, *options)
        equal(done.returncode, 8, done.stderr)
        contains(done.stderr, reason)


@test
def without_mounts_secrets_are_files_only_where_that_is_allowed(w):
    """RLS-19, STO-31"""
    context(w)
    base(w)
    container = Container(w)
    run_in(container, "load", "-i", "/shared/base.tar")
    w.folder("shared/secret-file", {"Dockerfile": "FROM busybox\nRUN --mount=type=secret,id=s grep -q ^canary- /run/secrets/s\n"})
    build = ["build", "--progress=plain", "--secret", "id=s,src=/shared/secret", "-o", "/shared/s.tar", "/shared/secret-file"]
    done = run_in(container, *build)
    equal(done.returncode, 8, done.stderr)
    contains(done.stderr, "--allow-disk-secrets")
    done = run_in(container, *build[:1], "--allow-disk-secrets", *build[1:])
    equal(done.returncode, 0, done.stderr)
    found = subprocess.run(["grep", "-r", "-l", CANARY, str(w.path / "shared" / f"store-{container.bundle.name}")],
                           capture_output=True, check=False).stdout.decode()
    equal(found, "", "files of the store with the secret")
    if any("secrets" in name for name in Image(w.path / "shared/s.tar").rootfs()):
        raise AssertionError("the place of the secret is in the image")


KINDS = ((), ("--snapshotter=copy",), ("--isolation=chroot",))


@test
def changes_hidden_from_the_comparison_are_in_the_layer_of_every_kind(w):
    """ATK-73, ATK-74"""
    need_root()
    w.busybox()
    folder = w.folder("context", {"a": "aaaa", "b": "bbbb", "c": "cccc", "Dockerfile":
        "FROM busybox\nCOPY a b c /d/\nCOPY a b c /e/f/g/\nCOPY a /k/f\n"
        # The same size and time, other bytes.
        "RUN touch -r /d/a /ref && echo -n AAAA > /d/a && touch -r /ref /d/a && rm /ref\n"
        # Nothing at all in the end.
        "RUN chmod 600 /d/b && chmod 644 /d/b && mv /d/c /d/x && mv /d/x /d/c && touch /tmp-file && rm /tmp-file\n"
        # A directory is a file for a while, another one is made anew, three levels deep.
        "RUN mv /d /x && echo f > /d && rm /d && mv /x /d && cp -a /e/f /y && rm -r /e/f && mkdir /e/f && cp -a /y/g /e/f/ && rm -r /y /e/f/g/b && "
        "mkdir /e/f/g/b && echo n > /e/f/g/b/n\n"
        "RUN mv /k/f /k/t && mv /bin/sh /k/f && mv /k/t /bin/sh2 && mv /k/f /bin/sh\n"})
    found = []
    for number, options in enumerate(KINDS):
        archive = w.path / f"{number}.tar"
        w.run("build", "--no-cache", "--source-date-epoch", EPOCH, *options, "-o", archive, folder)
        image = Image(archive)
        found.append([layer["digest"] for layer in image.manifest["layers"]])
    names = image.layer_names()
    equal(found[1:], [found[0]] * (len(KINDS) - 1), "layers")
    files = image.rootfs()
    equal(files["/d/a"]["content"], b"AAAA", "a file with other bytes and its old time")
    contains(" ".join(names[-4]), "d/a")
    equal(names[-3], [], "a layer for nothing")
    equal(sorted(name for name in files if name.startswith("/e/")),
          ["/e/f", "/e/f/g", "/e/f/g/a", "/e/f/g/b", "/e/f/g/b/n", "/e/f/g/c"], "files of a directory made anew")


@test
def what_copies_are_made_of_is_counted_checked_and_pruned(w):
    need_root()
    w.busybox()
    folder = w.folder("context", {"Dockerfile": "FROM busybox\nRUN echo x > /f\nRUN cat /f > /g\n"})
    w.run("build", "--snapshotter=copy", "-t", "app", folder)
    kept = pathlib.Path(w.store, "contents")
    names = sorted(kept.iterdir())
    equal(len(names) > 0, True, "extracted bytes")
    items = json.loads(w.run("du", "--format=json").out)
    contains(json.dumps(items), names[0].name)
    w.run("fsck", "--deep")
    busybox = max((path for path in kept.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    os.chmod(busybox, 0o600)
    os.truncate(busybox, 100)
    w.run("fsck", "--deep", ok=False)
    w.run("fsck", "--deep", "--repair", ok=None)
    w.run("fsck", "--deep")
    w.run("build", "--snapshotter=copy", "--no-cache", "-t", "app", folder)
    w.run("rmi", "app", "busybox")
    w.run("prune", "--all", "--force")
    equal(list(kept.iterdir()), [], "extracted bytes after a prune")


@test
def certificates_of_the_builder_are_trusted_in_every_kind_of_sandbox_and_leave_no_trace(w):
    need_root()
    w.busybox()
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    ca, _ = authority(w)
    marker = ca.read_text().splitlines()[2]
    folder = w.folder("context", {"own": "of the image\n", "Dockerfile":
        f"FROM busybox\nCOPY own {bundle}\nRUN grep -q '{marker}' {bundle} $SSL_CERT_FILE || test -z \"$SSL_CERT_FILE\"\n"
        f"RUN echo more >> {bundle}\nRUN ls /etc > /list\n"})
    found = set()
    for options in KINDS:
        for trusted in ((), ("--ca-bundle", ca)):
            archive = w.path / "o.tar"
            w.run("build", "--no-cache", "--source-date-epoch", EPOCH, *options, *trusted, "-o", archive, folder)
            image = Image(archive)
            found.add(tuple(layer["digest"] for layer in image.manifest["layers"]))
    equal(len(found), 1, "different images")
    equal(image.rootfs()[bundle]["content"], b"of the image\nmore\n", "the bundle of the image")


@test
def without_mounts_files_of_the_machine_are_not_lent_to_commands(w):
    need_root()
    w.busybox()
    lent = w.folder("lent", {"file": "precious\n"})
    w.folder("cdi", {"d.json": json.dumps({"cdiVersion": "0.6.0", "kind": "test.example/d", "devices": [
        {"name": "files", "containerEdits": {"mounts": [{"hostPath": str(lent), "containerPath": "/lent", "options": ["ro"]}]}},
        {"name": "node", "containerEdits": {"deviceNodes": [{"path": "/dev/other-null", "hostPath": "/dev/null"}]}}]})})
    def attempt(device, line, *options, ok=True):
        folder = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN --device=test.example/d={device} {line}\n"})
        return w.run("build", "--no-cache", "--allow", "device", "--cdi-spec-dir", w.path / "cdi", *options, "-o", w.path / "o.tar", folder, ok=ok)
    attempt("files", "cat /lent/file")
    result = attempt("files", "cat /lent/file", "--isolation=chroot", ok=False)
    equal(result.code, 8, "exit code")
    contains(result.err, "cannot be lent to a command without mounts")
    equal((lent / "file").read_text(), "precious\n", "the file")
    attempt("node", "echo x > /dev/other-null && test ! -s /dev/other-null", "--isolation=chroot")
    equal([name for name in Image(w.path / "o.tar").rootfs() if "null" in name], [], "devices in the image")


@test
def options_choose_the_isolation_or_are_refused_with_the_reason(w):
    need_root()
    w.busybox()
    folder = w.folder("context", {"Dockerfile": "FROM busybox\nRUN echo x > /f\n"})
    digests = set()
    for options in ((), ("--snapshotter=copy",), ("--isolation=chroot",), ("--no-process-sandbox",)):
        w.run("build", "--no-cache", "--source-date-epoch", EPOCH, *options, "-o", w.path / "o.tar", folder)
        digests.add(Image(w.path / "o.tar").manifest["layers"][-1]["digest"])
    equal(len(digests), 1, "different layers")
    result = w.run("build", "--no-cache", "--isolation=chroot", "--snapshotter=overlay", folder, ok=False)
    equal(result.code, 8, "exit code")
    contains(result.err, "--snapshotter=overlay")
    equal(w.run("build", "--isolation=strong", folder, ok=False).code, 2, "exit code of a wrong word")
    equal(w.run("build", "--snapshotter=zfs", folder, ok=False).code, 2, "exit code of a wrong word")


@test
def where_proc_is_hidden_commands_may_share_the_processes_around_them(w):
    """RLS-14"""
    context(w)
    base(w)
    container = Container(w, seccomp=False)
    run_in(container, "load", "-i", "/shared/base.tar")
    w.folder("shared/share", {"Dockerfile": "FROM busybox\nRUN test -d /proc/$$ && (sleep 986 &) ; echo done > /f\n"})
    done = run_in(container, "build", "--isolation=full", "/shared/share")
    equal(done.returncode, 8, done.stderr)
    contains(done.stderr, "--no-process-sandbox")
    done = run_in(container, "build", "--no-process-sandbox", "--isolation=full", "/shared/share")
    equal(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    run()
