"""Attack catalogue, what a build reads: contexts, ignore files, git repositories and ADD, against a canary outside."""
import os
import re
import signal
import socket
import tarfile
import threading
import time

from attack_support import Canary, Server, Tar
from harness import command, contains, equal, run, test
from processes import leftovers, start
from remote_servers import git, make_repository, smart_git


def check_build(w, canary, context, *options, **more):
    """Builds and checks that nothing of the canary is in the messages or in the image, whatever the end."""
    archive = w.path / "checked.tar"
    archive.unlink(missing_ok=True)
    more.setdefault("ok", None)
    result = w.build(context, "-o", f"type=tar,dest={archive}", *options, timeout=60, **more)
    canary.check(result.err, result.out)
    if archive.exists():
        canary.check(archive.read_bytes())
    return result


@test
def links_of_the_context_do_not_lead_out_atk_110(w):
    canary = Canary(w)
    (canary.folder / "inner").write_text(canary.secret)
    canary.before = canary.state()
    context = w.folder("context", {"Dockerfile": "", "real/file": "inside"})
    up = os.path.relpath(canary.folder, context)
    links = {"absolute": str(canary.file), "relative": os.path.relpath(canary.file, context), "folder": str(canary.folder), "up": up,
             "proc": f"/proc/self/root{canary.file}", "cwd": "/proc/self/cwd", "inside": "real", "loop": "loop", "round": "../context/real"}
    for name, target in links.items():
        (context / name).symlink_to(target)
    (context / "deep").mkdir()
    (context / "deep/out").symlink_to("../" * 30 + str(canary.folder).lstrip("/"))
    sources = ["absolute", "relative", "proc", "folder", "folder/", "folder/inner", "up/inner", "deep/out/inner", "cwd/canary-file", "proc/",
               "../canary-file", "../../../../../../etc/passwd", "deep/../../canary-file", "f*/inner", "loop", "loop/x", "/proc/self/root/etc/passwd"]
    for source in sources:
        for word in ("COPY", "ADD"):
            (context / "Dockerfile").write_text(f"FROM scratch\n{word} {source} /x/\n")
            check_build(w, canary, context)
    for flag, source in (("--parents ", "./*"), ("--link ", "."), ("", ".")):
        (context / "Dockerfile").write_text(f"FROM scratch\nCOPY {flag}{source} /all/\n")
        result = check_build(w, canary, context, ok=True)
        equal(result.code, 0, "a copy of the links themselves")
    with tarfile.open(w.path / "checked.tar") as tar:
        equal(tar.getmember("all/absolute").linkname, str(canary.file), "a link is copied as it is")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY inside/file /x\n")
    check_build(w, canary, context, ok=True)


@test
def hostile_ignore_files_end_quickly_atk_111(w):
    canary = Canary(w)
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY . /\n", **{f"d{i % 50}/f{i}": "x" for i in range(1000)}})
    ignore = context / ".dockerignore"

    def link():
        ignore.symlink_to(canary.file)

    def pipe():
        os.mkfifo(ignore)

    def large():
        with open(ignore, "wb") as file:
            file.truncate(1 << 30)

    def text(value):
        return lambda: ignore.write_bytes(value)

    cases = {"a link out": link, "a pipe": pipe, "1 GiB": large, "a folder": ignore.mkdir, "NUL": text(b"a\0b\n*\0"),
             "climbing": text(b"!../../../etc\n../x\n!/../canary-file\n"), "stars": text(b"**/" * 1000 + b"x\n"),
             "nested": text(b"!**/*/**/*/**/*/**/*/**/x\n" * 200), "an open class": text(b"[\n"), "an empty range": text(b"[z-a]\n"),
             "an escape at the end": text(b"a\\\n"), "a line of 1 MiB": text(b"a" * (1 << 20)), "many rules": text(b"".join(b"x%d/**/y*z\n" % i for i in range(5000))),
             "not text": text(bytes(range(128, 256)) * 50)}
    for name, make in cases.items():
        make()
        result = check_build(w, canary, context)
        if result.code not in (0, 3, 7, 1):
            raise AssertionError(f"{name}: {result!r}")
        command("rm", "-rf", ignore)
    equal(leftovers(w.store), [], "leftovers in the store")


@test
def special_files_of_the_context_stop_nothing_atk_113(w):
    canary = Canary(w)
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY . /all/\n", "file": "x"})
    os.mkfifo(context / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(context / "socket"))
    (context / "self").symlink_to("self")
    (context / "mutual-a").symlink_to("mutual-b")
    (context / "mutual-b").symlink_to("mutual-a")
    check_build(w, canary, context, ok=True)
    with tarfile.open(w.path / "checked.tar") as tar:
        equal(tar.getmember("all/pipe").isfifo(), True, "a pipe is copied as one")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY pipe socket /\n")
    check_build(w, canary, context)
    listener.close()
    top = os.open(context, os.O_RDONLY)
    for _ in range(1000):  # the path becomes longer than any call takes
        os.mkdir("deep-deep", dir_fd=top)
        deeper = os.open("deep-deep", os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = deeper
    os.close(top)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /all/\n")
    check_build(w, canary, context)
    command("rm", "-rf", context / "deep-deep")
    if os.geteuid() == 0:
        for kind in ("b", "c"):
            command("mknod", context / "device", kind, "1", "5")
            contains(check_build(w, canary, context, ok=False).err, "device")
            (context / ".dockerignore").write_text("device\n")
            check_build(w, canary, context, ok=True)
            (context / ".dockerignore").unlink()
            (context / "device").unlink()


@test
def a_file_that_grows_is_noticed_atk_113(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY grows /\n"})
    stop = threading.Event()

    def grow():
        with open(context / "grows", "ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"x" * 65536)
                if file.tell() > 200 << 20:
                    file.truncate(1 << 20)

    (context / "grows").write_bytes(b"x" * (20 << 20))
    thread = threading.Thread(target=grow)
    thread.start()
    try:
        for _ in range(4):
            result = w.build(context, "--no-cache", ok=None, timeout=60)
            if result.code != 0:
                contains(result.err, "changed")
    finally:
        stop.set()
        thread.join()
    equal(leftovers(w.store), [], "leftovers in the store")


@test
def a_context_that_changes_under_the_build_shows_nothing_else_atk_114(w):
    canary = Canary(w)
    (canary.folder / "inner").write_text(canary.secret)
    canary.before = canary.state()
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY . /all/\nCOPY d/e/inner /one\n", **{f"d/e/f{i}": "x" for i in range(300)}, "d/e/inner": "inside"})
    (context / "other").symlink_to(canary.folder)
    (context / "file-other").symlink_to(canary.file)
    stop = threading.Event()

    def swap():
        steps = [("d/e", "d/aside"), ("other", "d/e"), ("d/e", "other"), ("d/aside", "d/e"),
                 ("d/e/inner", "d/e/inner-aside"), ("file-other", "d/e/inner"), ("d/e/inner", "file-other"), ("d/e/inner-aside", "d/e/inner")]
        while not stop.is_set():
            for old, new in steps:
                try:
                    os.rename(context / old, context / new)
                except OSError:
                    pass

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(25):
            check_build(w, canary, context, "--no-cache")
    finally:
        stop.set()
        thread.join()


@test
def remote_contexts_are_no_way_out_atk_115(w):
    canary = Canary(w)
    (canary.folder / "inner").write_text(canary.secret)
    canary.before = canary.state()
    for body in ("COPY x/ /out/", "COPY x /out", "COPY x/inner /out", "ADD f /out", "COPY . /all/"):
        tar = (Tar().add("Dockerfile", f"FROM scratch\n{body}\n".encode()).link("x", str(canary.folder)).link("f", str(canary.file)))
        check_build(w, canary, "-", stdin=tar.end())
        through = Tar().add("Dockerfile", f"FROM scratch\n{body}\n".encode()).link("x", str(canary.folder)).add("x/planted", b"p").add("../climbs", b"p")
        check_build(w, canary, "-", stdin=through.end())
    repository = w.path / "links-work"
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")
    (repository / "x").symlink_to(canary.folder)
    (repository / "Dockerfile").write_text("FROM scratch\nCOPY x/ /out/\n")
    (repository / "copy.Dockerfile").symlink_to(canary.file)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "first")
    git(w.path, "clone", "-q", "--bare", repository, "links.git")
    with smart_git(w.path) as port:
        url = f"http://127.0.0.1:{port}/links.git"
        check_build(w, canary, url)
        check_build(w, canary, url, "-f", "copy.Dockerfile")
        check_build(w, canary, w.folder("adds", {"Dockerfile": f"FROM scratch\nADD {url} /all/\nCOPY --from=stage /all/x/ /y/\n"}))


@test
def a_subdirectory_is_beneath_its_repository_atk_116(w):
    canary = Canary(w)
    work = w.path / "sub-work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    (work / "real").mkdir()
    (work / "real/Dockerfile").write_text("FROM scratch\nCOPY . /all/\n")
    (work / "link").symlink_to(canary.folder)
    (work / "inside").symlink_to("real")
    (work / "up").symlink_to("../..")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "first")
    git(w.path, "clone", "-q", "--bare", work, "sub.git")
    with smart_git(w.path) as port:
        url = f"http://127.0.0.1:{port}/sub.git"
        check_build(w, canary, f"{url}#main:real", ok=True)
        for below in ("link", "up", "inside", f"../../../../../../{str(canary.folder).lstrip('/')}", "missing"):
            check_build(w, canary, f"{url}#main:{below}", ok=False)
            context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD {url}#main:{below} /x/\n"})
            check_build(w, canary, context, ok=False)
        for clamped in ("../..", "real/../../..", "link/.."):  # is the repository itself
            context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD {url}#main:{clamped} /x/\n"})
            check_build(w, canary, context, ok=True)
            with tarfile.open(w.path / "checked.tar") as tar:
                equal("x/real/Dockerfile" in tar.getnames(), True, clamped)


def repository_with_submodule(w, name, url, path="sub", files=None, extra=""):
    """A bare repository whose .gitmodules says what the attacker wants; the link to a commit is real."""
    work = w.path / f"{name}-work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    for file, content in (files or {}).items():
        (work / file).parent.mkdir(parents=True, exist_ok=True)
        (work / file).write_text(content)
        os.chmod(work / file, 0o755)
    quoted = path.replace("\\", "\\\\").replace("\r", "\\r").replace('"', '\\"')
    (work / ".gitmodules").write_text(f'[submodule "evil"]\n\tpath = "{quoted}"\n\turl = {url}\n{extra}')
    git(work, "add", "-A")
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},{path}")
    git(work, "commit", "-q", "-m", "first")
    git(w.path, "clone", "-q", "--bare", work, f"{name}.git")


def check_git_context(w, canary, port, name):
    """Both ways a repository gets into a build; nothing runs, nothing of the host is in it."""
    url = f"http://127.0.0.1:{port}/{name}.git"
    return [check_build(w, canary, w.folder(f"adds-{name}", {"Dockerfile": f"FROM scratch\nADD {url} /all/\n"})), check_build(w, canary, url)]


@test
def submodules_are_fetched_over_the_network_only_atk_118(w):
    canary = Canary(w)
    make_repository(w.path, "local", {"file": canary.secret})
    for number, url in enumerate(("/", f"file://{w.path}/local.git", f"{w.path}/local.git", "ext::sh -c touch% " + str(canary.folder / "ran"), "../../local.git",
                                  f"ssh://-oProxyCommand=touch%20{canary.folder}/ran/x", "--upload-pack=touch " + str(canary.folder / "ran"))):
        repository_with_submodule(w, f"sub{number}", url, files={"Dockerfile": "FROM scratch\nCOPY . /all/\n"})
    with smart_git(w.path) as port:
        for number in range(7):
            if number == 4:
                continue  # beside the repository on the server: that is the network
            for result in check_git_context(w, canary, port, f"sub{number}"):
                equal(result.code != 0, True, f"a build with submodule {number}: {result!r}")


@test
def names_of_submodules_execute_nothing_atk_119(w):
    canary = Canary(w)
    hook = f"#!/bin/sh\ntouch {canary.folder}/ran\n"
    hooks = {f"{place}/hooks/{name}": hook for place in ("payload", "sub") for name in ("post-checkout", "post-merge", "pre-commit", "reference-transaction")}
    paths = {"cr": "sub\r", "climbs": "../evil", "git": ".git/modules/evil", "case": ".GIT", "tab": "a\tb", "dash": "-u./payload"}
    with smart_git(w.path) as port:
        for name, path in paths.items():
            try:
                repository_with_submodule(w, f"name-{name}", f"http://127.0.0.1:{port}/inner.git", path, {**hooks, "Dockerfile": "FROM scratch\nCOPY . /all/\n"})
            except AssertionError:
                continue  # this git makes no such repository
            check_git_context(w, canary, port, f"name-{name}")


@test
def settings_in_repositories_execute_nothing_atk_120(w):
    canary = Canary(w)
    run_it = f"touch {canary.folder}/ran"
    files = {"Dockerfile": "FROM scratch\nCOPY . /all/\n", ".gitattributes": "* filter=evil diff=evil merge=evil\n*.bin filter=lfs\n", "x.bin": "version https://git-lfs\n",
             ".gitconfig": f"[filter \"evil\"]\n\tsmudge = {run_it}\n[core]\n\tfsmonitor = {run_it}\n\thooksPath = hooks\n",
             ".lfsconfig": f"[lfs]\n\turl = ext::{run_it}\n", "hooks/post-checkout": f"#!/bin/sh\n{run_it}\n"}
    repository_with_submodule(w, "settings", "./inner", files=files, extra=f"\tupdate = !{run_it}\n\tfetchRecurseSubmodules = true\n")
    calm = {name: content for name, content in files.items() if name != ".lfsconfig"}
    make_repository(w.path, "calm", calm)
    for name in ("settings", "calm"):
        git(w.path / f"{name}.git", "config", "core.fsmonitor", run_it)
        git(w.path / f"{name}.git", "config", "core.sshCommand", run_it)
    home = w.folder("home", {".gitconfig": f"[core]\n\tfsmonitor = {run_it}\n[alias]\n\tfetch = !{run_it}\n"})
    with smart_git(w.path) as port:
        check_git_context(w, canary, port, "settings")
        check_git_context(w, canary, port, "calm")
        url = f"http://127.0.0.1:{port}/calm.git"
        context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD {url} /all/\n"})
        hostile = {"HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"), "GIT_SSH_COMMAND": run_it, "GIT_EXTERNAL_DIFF": run_it,
                   "GIT_TEMPLATE_DIR": str(home), "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": run_it}
        check_build(w, canary, context, env=hostile, ok=True)


def packet(text):
    data = text if isinstance(text, bytes) else text.encode()
    return b"%04x" % (len(data) + 4) + data


@test
def git_servers_cannot_hold_a_build_for_ever_atk_121(w):
    canary = Canary(w)
    going = threading.Event()

    def endless(handler):
        handler.send_response_only(200)
        handler.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        handler.end_headers()
        going.set()
        try:
            handler.wfile.write(packet("# service=git-upload-pack\n") + b"0000")
            number = 0
            while True:  # references without end
                handler.wfile.write(packet(f"{number:040x} refs/heads/b{number}\n") * 50)
                number += 1
                time.sleep(0.001)
        except OSError:
            return

    with Server({"/x.git/info/refs": endless}) as server:
        context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD {server.url}/x.git#main /x/\n"})
        process = start(w, context)
        equal(going.wait(30), True, "the server was asked")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=15)
        equal(process.returncode in (130, 5), True, f"exit code {process.returncode}")
    garbage = {"/g.git/info/refs": (200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, packet("# service=git-upload-pack\n") + b"0000" + b"zzzz" * 1000)}
    with Server(garbage) as server:
        context = w.folder("garbage", {"Dockerfile": f"FROM scratch\nADD {server.url}/g.git /x/\n"})
        equal(w.build(context, ok=False, timeout=60).code, 5, "exit code for a server that makes no sense")
    many = w.path / "many-work"
    many.mkdir()
    git(many, "init", "-q", "-b", "main")
    (many / "file").write_text("x")
    git(many, "add", "-A")
    git(many, "commit", "-q", "-m", "first")
    head = git(many, "rev-parse", "HEAD")
    git(w.path, "clone", "-q", "--bare", many, "many.git")
    (w.path / "many.git/packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n" + "".join(f"{head} refs/heads/b{i:06}\n" for i in range(50_000)))
    with smart_git(w.path) as port:
        context = w.folder("many", {"Dockerfile": f"FROM scratch\nADD http://127.0.0.1:{port}/many.git#b000007 /x/\n"})
        check_build(w, canary, context, ok=True)
    equal(leftovers(w.store), [], "leftovers in the store")


@test
def archives_in_add_are_as_hostile_as_layers_atk_124(w):
    canary = Canary(w)
    cases = {"climbs": Tar().add("../../climbed", b"x"), "through a link": Tar().link("d", str(canary.folder)).add("d/planted", b"x"),
             "a hard link out": Tar().hard("h", str(canary.file)), "absolute": Tar().add(str(canary.folder / "planted"), b"x"),
             "a deletion": Tar().add(".wh.kept", b""), "hides all": Tar().add(".wh..wh..opq", b""), "a device": Tar().add("dev", kind=b"4", raw=[(329, b"0000001"), (337, b"0000001")]),
             "negative size": Tar().add("n", size=b"-0000000001"), "cut short": Tar().add("c", b"x", size=5000), "endless": Tar().pax({"size": "9" * 19}).add("e", b"x")}
    for name, tar in cases.items():
        data = tar.end() if name != "cut short" else tar.bytes
        context = w.folder(f"context-{name}".replace(" ", "-"), {"Dockerfile": "FROM scratch\nCOPY kept /kept\nADD a.tar /\nADD a.tar /deeper/\n", "kept": "kept", "a.tar": data})
        result = check_build(w, canary, context)
        if result.code == 0:
            with tarfile.open(w.path / "checked.tar") as image:
                names = image.getnames()
                equal("kept" in names, True, f"a file of another layer is kept by {name}")
                equal([member for member in names if re.search(r"(^|/)(\.\.|\.wh\.[^/]*)(/|$)", member)], [], f"names in the image of {name}")
    data = Tar().add("inside", b"x").end()
    with Server({"/a.tar": (200, {}, data)}) as server:
        context = w.folder("remote", {"Dockerfile": f"FROM scratch\nADD {server.url}/a.tar /\n"})
        check_build(w, canary, context, ok=True)
        with tarfile.open(w.path / "checked.tar") as image:
            equal(image.getnames(), ["a.tar"], "a remote archive is not unpacked")


if __name__ == "__main__":
    run()
