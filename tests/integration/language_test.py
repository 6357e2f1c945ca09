"""What the Dockerfile language reaches outside of the file: servers, devices, contexts, owners of caches, checks without a network."""
import base64
import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile

from harness import command, contains, equal, layout_of, need_root, run, test
from remote_servers import Revalidating, SshServer, git_daemon, make_repository, serving, smart_git


def counters(**fields):
    """A handler class of its own, so that its counters start at zero."""
    return type("Handler", (Revalidating,), {"bodies": 0, "unchanged": 0, **fields})


# ---- ADD of a URL

@test
def an_unchanged_url_is_revalidated_and_never_sent_again(w):
    for fields in ({"etag": '"one"'}, {"modified": "Thu, 01 Jan 2015 12:00:00 GMT"}):
        handler = counters(body=b"first\n", **fields)
        with serving(handler) as port:
            context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD http://127.0.0.1:{port}/f /f\n"})
            equal(len(w.build(context).ran), 1, "steps that ran in the first build")
            equal(w.build(context).ran, [], "steps that ran in the second build")
            equal((handler.bodies, handler.unchanged), (1, 1), "bodies sent, answers 304")
            # Another step needs the bytes: they are still here.
            w.folder("context", {"Dockerfile": f"FROM scratch\nADD http://127.0.0.1:{port}/f /other\n"})
            out = w.path / "out"
            w.build(context, "-o", out)
            equal((out / "other").read_bytes(), b"first\n", "content")
            equal((handler.bodies, handler.unchanged), (1, 2), "bodies sent, answers 304")
            # A changed file is noticed.
            handler.body = b"second\n"
            handler.etag = handler.etag and '"two"'
            handler.modified = handler.modified and "Fri, 02 Jan 2015 12:00:00 GMT"
            w.build(context, "-o", out)
            equal((out / "other").read_bytes(), b"second\n", "content")
            equal(handler.bodies, 2, "bodies sent")
            shutil.rmtree(out)


@test
def a_server_without_validators_is_asked_every_time(w):
    handler = counters(body=b"x")
    with serving(handler) as port:
        context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD http://127.0.0.1:{port}/f /f\n"})
        w.build(context)
        equal(w.build(context).ran, [], "steps that ran in the second build")
        equal((handler.bodies, handler.unchanged), (2, 0), "bodies sent, answers 304")


@test
def a_checksum_names_the_bytes_so_that_no_server_is_asked_twice(w):
    digest = "sha256:" + hashlib.sha256(b"fixed\n").hexdigest()
    handler = counters(body=b"fixed\n")
    with serving(handler) as port:
        text = f"FROM scratch\nADD --checksum={digest} http://127.0.0.1:{port}/f /f\n"
        context = w.folder("context", {"Dockerfile": text})
        w.build(context)
    equal(w.build(context).ran, [], "steps that ran with the server gone")
    w.folder("context", {"Dockerfile": text.replace("/f\n", "/g\n")})
    w.build(context, "-o", w.path / "out")
    equal((w.path / "out" / "g").read_bytes(), b"fixed\n", "content")
    # What an earlier build got from this URL is no excuse for another checksum.
    w.folder("context", {"Dockerfile": text.replace(digest, "sha256:" + "0" * 64)})
    equal(w.build(context, ok=False).code, 5, "exit code with the server gone")


@test
def a_wrong_checksum_leaves_nothing_behind(w):
    handler = counters(body=b"evil\n", etag='"e"')
    with serving(handler) as port:
        context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD --checksum=sha256:{'0' * 64} http://127.0.0.1:{port}/f /f\n"})
        contains(w.run("build", context, ok=False).err, "digest mismatch")
    equal(command("grep", "-rl", "evil", w.store, ok=False).stdout, b"", "files of the store that hold the bytes")


# ---- git

@test
def git_over_smart_http_fetches_branches_commits_and_submodules(w):
    make_repository(w.path, "inner", {"deep.txt": "deep\n"})
    commit = make_repository(w.path, "outer", {"a.txt": "a\n", "sub/b.txt": "b\n"}, submodule=("inner", "../inner.git"))
    with smart_git(w.path) as port:
        url = f"http://127.0.0.1:{port}/outer.git"
        context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD {url} /all/\nADD {url}#main:sub /sub/\nADD {url}#{commit} /commit/\n"
                                                     f"ADD --checksum={commit[:12]} {url}#main /checked/\nADD --keep-git-dir {url}?submodules=false /kept/\n"})
        out = w.path / "out"
        w.build(context, "-o", out)
        equal((out / "all/inner/deep.txt").read_text(), "deep\n", "submodule")
        equal(sorted(os.listdir(out / "sub")), ["b.txt"], "sub-directory")
        equal((out / "commit/a.txt").read_text(), "a\n", "by commit")
        equal((out / "checked/a.txt").read_text(), "a\n", "checked")
        equal((out / "kept/.git").is_dir(), True, ".git kept")
        equal((out / "all/.git").exists(), False, ".git of the others")
        equal(os.listdir(out / "kept/inner"), [], "submodule that was not wanted")
        wrong = w.folder("wrong", {"Dockerfile": f"FROM scratch\nADD --checksum={'0' * 40} {url}#main /x/\n"})
        contains(w.run("build", wrong, ok=False).err, "expected checksum to match")


@test
def a_git_token_is_sent_to_its_host_and_shown_nowhere(w):
    make_repository(w.path, "private", {"a.txt": "a\n"})
    expected = "Basic " + base64.b64encode(b"x-access-token:s3cr3t").decode()
    with smart_git(w.path, authorization=expected) as port:
        context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD http://127.0.0.1:{port}/private.git /x/\n"})
        equal(w.run("build", context, ok=False).code, 5, "exit code without the token")
        result = w.build(context, "--secret", "id=GIT_AUTH_TOKEN.127.0.0.1,env=TOKEN", "-o", w.path / "out.tar", env={"TOKEN": "s3cr3t"})
        equal("s3cr3t" in result.err + result.out, False, "token in the output")
    equal(command("grep", "-rl", "s3cr3t", w.store, w.path / "out.tar", ok=False).stdout, b"", "files that hold the token")


@test
def git_over_its_own_protocol(w):
    make_repository(w.path, "plain", {"a.txt": "a\n"})
    with git_daemon(w.path) as port:
        context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD git://127.0.0.1:{port}/plain.git#main /x/\n"})
        w.build(context, "-o", w.path / "out")
        equal((w.path / "out/x/a.txt").read_text(), "a\n", "content")


@test
def git_over_ssh_uses_the_agent_and_known_hosts_only(w):
    need_root()
    make_repository(w.path, "repo", {"Dockerfile": "FROM scratch\nCOPY a.txt /from-context\n", "a.txt": "a\n"})
    with SshServer(w.path / "ssh") as server:
        url = f"ssh://root@127.0.0.1:{server.port}{w.path}/repo.git"
        known = {"SSH_AUTH_SOCK": server.socket, "IMGBUILD_SSH_KNOWN_HOSTS": str(server.known), "HOME": str(w.path)}
        context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD {url}#main /x/\n"})
        w.build(context, "-o", w.path / "out", env=known)
        equal((w.path / "out/x/a.txt").read_text(), "a\n", "ADD over ssh")
        # The same repository as a build context, and the agent given with --ssh.
        w.build(url, "--ssh", f"default={server.socket}", "-o", w.path / "out2", env={**known, "SSH_AUTH_SOCK": ""})
        equal((w.path / "out2/from-context").read_text(), "a\n", "context over ssh")
        # An unknown host key is refused, not learned (SEC-22).
        empty = w.path / "nobody"
        empty.write_text("")
        refused = w.run("build", context, "--no-cache", ok=False, env={**known, "IMGBUILD_SSH_KNOWN_HOSTS": str(empty)})
        contains(refused.err, "Host key verification failed")
        contains(refused.err, "IMGBUILD_SSH_KNOWN_HOSTS")
        equal(empty.read_text(), "", "file of known hosts")
        # Without the agent there is no key, whatever lies in ~/.ssh.
        refused = w.run("build", context, "--no-cache", ok=False, env={**known, "SSH_AUTH_SOCK": ""})
        contains(refused.err, "Permission denied")
        odd = w.run("build", context, ok=False, env={**known, "IMGBUILD_SSH_KNOWN_HOSTS": "/tmp/a\"b"})
        equal(odd.code, 2, "exit code for an unusable path")


@test
def atk_117_names_that_git_would_take_for_options_are_refused(w):
    for source in ("ssh://-oProxyCommand=touch${IFS}pwned/x.git", "git@-oProxyCommand=x:y.git", "https://127.0.0.1:1/x.git#--upload-pack=/x",
                   "ssh://host/-x.git#-b"):
        context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD [\"{source}\", \"/x/\"]\n"})
        equal(w.run("build", context, ok=False).code != 0, True, source)
    equal((w.path / "pwned").exists(), False, "a command ran")


# ---- contexts

def context_tar(files, form="w", mtime=0):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=form) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mtime = mtime
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


@test
def a_context_on_standard_input_may_be_compressed_in_any_way(w):
    plain = context_tar({"Dockerfile": b"FROM scratch\nCOPY a /a\n", "a": b"content\n"})
    forms = {"plain": plain, "gzip": gzip.compress(plain), "bzip2": bz2.compress(plain), "xz": lzma.compress(plain)}
    if shutil.which("zstd"):
        forms["zstd"] = subprocess.run(["zstd", "-q"], input=plain, capture_output=True, check=True).stdout
    for name, data in forms.items():
        w.build("-", "-o", w.path / name, stdin=data)
        equal((w.path / name / "a").read_bytes(), b"content\n", name)
    # Named contexts take the same archives.
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY --from=more a /b\n"})
    for name, data in forms.items():
        (w.path / f"{name}.tar").write_bytes(data)
        w.build(context, "--build-context", f"more={w.path}/{name}.tar", "-o", w.path / f"named-{name}")
        equal((w.path / f"named-{name}" / "b").read_bytes(), b"content\n", f"named {name}")


@test
def atk_131_odd_standard_input_is_refused_clearly(w):
    for data, words in ((b"", "standard input is empty"), (b"\x1f\x8b\x08\x00cut", "error"), (context_tar({"x": b""}), "Dockerfile")):
        contains(w.run("build", "-", ok=False, stdin=data).err, words)
    both = w.run("build", "-", "-f", "-", ok=False, stdin=b"FROM scratch\n")
    equal(both.code, 2, "exit code for context and Dockerfile at once")


@test
def atk_112_a_dockerfile_outside_of_its_context_is_never_shown(w):
    canary = w.path / "canary"
    canary.write_text("CANARY of the host\n")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        link = tarfile.TarInfo("Dockerfile")
        link.type, link.linkname = tarfile.SYMTYPE, str(canary)
        tar.addfile(link)
    attempts = [((), data.getvalue())] + [(("-f", name), context_tar({"a": b""})) for name in ("../canary", str(canary))]
    for words, context in attempts:
        result = w.run("build", "-", *words, ok=False, stdin=context)
        equal("CANARY" in result.err + result.out, False, "content of the host in the message")


@test
def an_http_context_is_an_archive_or_a_dockerfile(w):
    handler = counters(body=gzip.compress(context_tar({"Dockerfile": b"FROM scratch\nCOPY a /a\n", "a": b"x"})))
    with serving(handler) as port:
        w.build(f"http://127.0.0.1:{port}/context.tar.gz", "-o", w.path / "out")
        equal((w.path / "out/a").read_bytes(), b"x", "content")
        handler.body = b"FROM scratch\nCOPY context /self\n"
        w.build(f"http://127.0.0.1:{port}/Dockerfile", "-o", w.path / "bare")
        equal((w.path / "bare/self").read_bytes(), handler.body, "the file is the context")


# ---- devices

# ---- SOURCE_DATE_EPOCH

def image_created(w, context, *options, **more):
    w.build(context, "-o", f"type=oci,dest={w.path / 'image.tar'}", *options, **more)
    config = layout_of(w.path / "image.tar", w.path / "image")[2]
    shutil.rmtree(w.path / "image")
    return config["created"]


@test
def the_source_date_may_come_from_a_stage_a_named_context_or_the_context(w):
    make_repository(w.path, "src", {"Dockerfile": "FROM scratch\nCOPY . /\n"})
    log = command("git", "--git-dir", w.path / "src.git", "log", "-1", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%cd", env={**os.environ, "TZ": "UTC"})
    commit_time = log.stdout.decode().strip()
    dated = counters(body=b"x", modified="Thu, 01 Jan 2015 12:00:00 GMT")
    packed = counters(body=context_tar({"Dockerfile": b"FROM scratch\nCOPY . /\n"}, "w:gz", mtime=86400))
    plain = counters(body=b"no archive")
    with serving(dated) as one, serving(packed) as two, serving(plain) as three, smart_git(w.path) as four:
        sources = {f"http://127.0.0.1:{one}/f": "2015-01-01T12:00:00Z", f"http://127.0.0.1:{two}/c.tgz": "1970-01-02T00:00:00Z",
                   f"http://127.0.0.1:{four}/src.git": commit_time}
        for source, expected in sources.items():
            text = f"ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\nADD {source} /\nFROM scratch\nCOPY Dockerfile /\n"
            context = w.folder("context", {"Dockerfile": text})
            equal(image_created(w, context), expected, f"created, by a stage with {source}")
            w.folder("context", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
            options = ("--build-arg", "SOURCE_DATE_EPOCH=src", "--build-context", f"src={source}")
            equal(image_created(w, context, *options), expected, f"created, by the named context {source}")
        for source in list(sources)[1:]:
            equal(image_created(w, source, "--build-arg", "SOURCE_DATE_EPOCH=context"), sources[source], f"created, by the context {source}")
        # A download without a time and a directory give none: the clock does.
        text = f"ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\nADD http://127.0.0.1:{three}/f /\nFROM scratch\nARG SOURCE_DATE_EPOCH\nENV E=[$SOURCE_DATE_EPOCH]\nCOPY Dockerfile /\n"
        equal(image_created(w, w.folder("context", {"Dockerfile": text}))[:2], "20", "created, by a file without a time")
        equal(image_created(w, w.folder("context", {"Dockerfile": text}), "--build-context", f"src={w.path}")[:2], "20", "created, by a directory")


@test
def a_git_context_keeps_its_git_directory_when_asked_to(w):
    make_repository(w.path, "src", {"Dockerfile": "FROM scratch\nCOPY . /\n"})
    with smart_git(w.path) as port:
        url = f"http://127.0.0.1:{port}/src.git"
        w.build(url, "-o", w.path / "plain")
        w.build(url, "-o", w.path / "kept", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1")
        equal([(w.path / name / ".git").exists() for name in ("plain", "kept")], [False, True], ".git in the image")
        equal(w.build(url, "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=often", ok=False).code, 2, "exit code for what is no boolean")


@test
def a_build_argument_for_the_source_date_wins_over_the_environment(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    env = {"SOURCE_DATE_EPOCH": "5"}
    equal(image_created(w, context, env=env), "1970-01-01T00:00:05Z", "created, by the environment")
    equal(image_created(w, context, "--build-arg", "SOURCE_DATE_EPOCH=6", env=env), "1970-01-01T00:00:06Z", "created, by the argument")


def cdi(w, name, **edits):
    folder = w.path / "cdi"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"cdiVersion": "0.6.0", "kind": "vendor.com/gadget", "devices": [
        {"name": name, "annotations": {"org.mobyproject.buildkit.device.class": "gadgets"}, "containerEdits": edits}]}))
    return folder


@test
def a_device_brings_its_variables_nodes_and_files(w):
    need_root()
    w.busybox()
    shared = w.folder("shared", {"lib.txt": "from the host\n"})
    folder = cdi(w, "one", env=["GADGET=1"], deviceNodes=[{"path": "/dev/gadget0", "hostPath": "/dev/zero"}],
                 mounts=[{"hostPath": str(shared), "containerPath": "/opt/gadget", "options": ["ro", "nosuid", "bind"]}])
    script = ("head -c 3 /dev/gadget0 | od -An -tx1 > /out; echo $GADGET >> /out; cat /opt/gadget/lib.txt >> /out; "
              "touch /opt/gadget/x 2>/dev/null || echo read-only >> /out")
    for name in ("vendor.com/gadget=one", "vendor.com/gadget", "vendor.com/gadget=*", "gadgets", "name=vendor.com/gadget=one"):
        context = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN --device={name} {script}\n"})
        out = w.path / "out"
        w.build(context, "--no-cache", "--allow", "device", "--cdi-spec-dir", folder, "-o", out)
        equal((out / "out").read_text(), " 00 00 00\n1\nfrom the host\nread-only\n", name)
        equal((out / "dev/gadget0").exists() or (out / "opt/gadget").exists(), False, "mount points in the layer")
    w.run("build", context, "--allow", "device=vendor.com/gadget=one", "--cdi-spec-dir", folder)


@test
def devices_are_refused_unless_allowed_known_and_safe(w):
    need_root()
    w.busybox()
    folder = cdi(w, "good", env=["A=1"])
    cdi(w, "hooked", hooks=[{"hookName": "createContainer", "path": "/bin/true"}])
    cdi(w, "writes", mounts=[{"hostPath": "/etc", "containerPath": "/host-etc", "options": ["rbind"]}])
    cdi(w, "limited", deviceNodes=[{"path": "/dev/z", "hostPath": "/dev/zero", "permissions": "r"}])
    cdi(w, "covers", deviceNodes=[{"path": "/dev/null", "hostPath": "/dev/zero"}])
    cdi(w, "outside", deviceNodes=[{"path": "/etc/zero", "hostPath": "/dev/zero"}])
    cdi(w, "nofile", deviceNodes=[{"path": "/dev/z", "hostPath": "/etc/passwd"}])
    (folder / "old.yaml").write_text("cdiVersion: 0.6.0\n")
    (folder / "bad.json").write_text("{")

    def attempt(device, *arguments):
        context = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN --device={device} echo ran > /out\n"})
        return w.run("build", context, "--cdi-spec-dir", folder, *arguments, ok=None)

    refused = attempt("vendor.com/gadget=good")
    equal(refused.code, 8, "exit code when not allowed")
    contains(refused.err, "--allow device=vendor.com/gadget=good")
    equal(attempt("vendor.com/gadget=good", "--allow", "device=vendor.com/gadget=other").code, 8, "exit code when another one is allowed")
    unknown = attempt("vendor.com/gadget=none,required", "--allow", "device")
    equal(unknown.code, 8, "exit code for a required device")
    for words in ("is not registered", "old.yaml is YAML", "bad.json cannot be used"):
        contains(unknown.err, words)
    optional = attempt("vendor.com/gadget=none", "--allow", "device")
    equal(optional.code, 0, "exit code for an optional device")
    contains(optional.err, "runs without it")
    for name, words in (("hooked", "hooks"), ("writes", "not read-only"), ("limited", "limited"), ("covers", "/dev/null"),
                        ("outside", "/etc/zero"), ("nofile", "no device")):
        result = attempt(f"vendor.com/gadget={name}", "--allow", "device")
        equal(result.code, 8, f"exit code of {name}")
        contains(result.err, words)


# ---- owners of cache mounts

@test
def a_cache_mount_may_belong_to_the_user_of_its_step(w):
    need_root()
    w.busybox()
    text = "FROM busybox\nUSER 5:6\nRUN --mount=type=cache,target=/c stat -c '%u:%g' /c > /tmp/out && touch /c/x\n"
    context = w.folder("context", {"Dockerfile": text})
    failed = w.run("build", context, ok=False)
    equal(failed.code, 4, "exit code when the cache is root's")
    contains(failed.err, "--cache-mount-owner=user")
    w.build(context, "--cache-mount-owner=user", "-o", w.path / "out")
    equal((w.path / "out/tmp/out").read_text(), "5:6\n", "owner")
    equal(w.run("build", context, "--cache-mount-owner=me", ok=False).code, 2, "exit code of a wrong owner")


# ---- checks

@test
def a_check_needs_no_registry(w):
    context = w.folder("context", {"Dockerfile": "FROM 127.0.0.1:1/base:1 AS Build\nENV A=$B\nFROM 127.0.0.1:1/other\nCMD x\n"})
    result = w.run("build", "--call=check,format=json", context, ok=None)
    report = json.loads(result.out)
    equal(report["error"], None, "error")
    equal([(x["rule"], x["line"]) for x in report["warnings"]], [("StageNameCasing", 1), ("UndefinedVar", 2), ("JSONArgsRecommended", 4)], "warnings")
    contains(result.err, "127.0.0.1:1/base:1 could not be asked for")
    for name in ("no.such.invalid/x:1", "Upper/Case"):
        context = w.folder("context", {"Dockerfile": f"FROM {name}\n"})
        report = json.loads(w.run("build", "--call=check,format=json", context, ok=False).out)
        equal(report["error"]["line"], 1, f"line of the error for {name}")


if __name__ == "__main__":
    run()
