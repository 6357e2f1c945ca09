"""What a user asks first: build, build again, other outputs, other inputs, clear errors."""
import json
import os
import pathlib
import signal
import subprocess
import tarfile
import time

from case_files import Image
from harness import PROGRAM, BUSYBOX, command, contains, equal, layout_of, need, need_root, run, skip, test, tree_of

PLAIN = {"Dockerfile": "FROM scratch\nCOPY a b/ /x/\nLABEL k=v\n", "a": "one", "b/c": "two"}


@test
def an_unchanged_build_runs_nothing_reads_nothing_and_gives_the_same_digest(w):
    context = w.folder("context", PLAIN)
    time.sleep(0.05)   # files younger than the clock's grain are never remembered
    first = w.build(context, "-t", "app:v1")
    again = w.build(context, "-t", "app:v1", "--stats")
    equal(again.ran, [], "steps run")
    equal(again.out, first.out, "digest")
    contains(again.err, "0 bytes read")


@test
def explain_names_what_changed_for_every_step_that_runs(w):
    context = w.folder("context", PLAIN)

    def reasons(*arguments):
        return [e["text"] for e in w.build(context, "--explain", *arguments).events if e["event"] == "explained"]

    contains(" ".join(reasons()), "no earlier build")
    equal(reasons(), [], "reasons of an unchanged build")
    (context / "a").write_text("other")
    contains(" ".join(reasons()), "a")
    contains(" ".join(reasons("--no-cache")), "switched off")
    (context / "Dockerfile").write_text(PLAIN["Dockerfile"].replace("/x/", "/y/"))
    contains(" ".join(reasons()), "/y/")


@test
def the_word_build_may_be_left_out(w):
    context = w.folder("context", PLAIN)
    equal(w.run("-q", context).out, w.run("build", "-q", context).out, "image ID")


@test
def times_of_files_do_not_matter_but_contents_do(w):
    context = w.folder("context", PLAIN)
    first = w.build(context)
    os.utime(context / "a", (1, 1))
    equal(w.build(context).out, first.out, "digest after touch")
    (context / "a").write_text("uno")
    changed = w.build(context)
    equal(len(changed.ran), 1, "steps run after an edit")
    if changed.out == first.out:
        raise AssertionError("the edit did not reach the image")


@test
def an_edit_of_the_same_size_in_the_same_tick_is_noticed(w):
    context = w.folder("context", PLAIN)
    first = w.build(context)
    info = os.stat(context / "a")
    (context / "a").write_text("eno")
    os.utime(context / "a", ns=(info.st_atime_ns, info.st_mtime_ns))
    if w.build(context).out == first.out:
        raise AssertionError("the edit was missed")


@test
def unreachable_stages_are_not_built_and_targets_select(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch AS a\nCOPY f /a\nFROM scratch AS broken\nCOPY nothing /\n"
                                                 "FROM scratch AS b\nCOPY --from=a /a /b\n", "f": "x"})
    equal([label.split("] ")[1] for label, _ in w.build(context).steps], ["COPY f /a", "COPY --from=a /a /b"], "steps")
    equal(len(w.build(context, "--target", "A").steps), 1, "steps of the target")
    result = w.build(context, "--target", "broken", ok=False)
    contains(result.err, "Dockerfile:4")
    contains(w.run("build", "--target", "c", context, ok=False).err, "did you mean")


@test
def ignored_folders_are_not_entered(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY . /\n", ".dockerignore": "deep\nlogs/*\n!logs/keep\n",
                                   "a": "x", "deep/1/2/3/f": "x", "logs/drop": "x", "logs/keep": "x"})
    archive = w.path / "out.tar"
    result = w.build(context, "-o", archive, "--stats")
    equal(sorted(n for n in Image(archive).layer_names()[0]),
          ["/.dockerignore", "/Dockerfile", "/a", "/logs/", "/logs/keep"], "files")
    contains(result.err, "2 directories opened")   # the root and logs, which may hold what is kept


@test
def a_dockerfile_of_its_own_has_an_ignore_file_of_its_own(w):
    context = w.folder("context", {"other": "FROM scratch\nCOPY . /\n", "other.dockerignore": "a\nother*\n.dockerignore\n",
                                   ".dockerignore": "b\n", "a": "x", "b": "x"})
    archive = w.path / "out.tar"
    w.build(context, "-f", context / "other", "-o", archive)
    equal(Image(archive).layer_names(), [["/b"]], "files")


@test
def every_output_is_what_it_says(w):
    context = w.folder("context", PLAIN)
    oci, docker, dual, rootfs = (w.path / n for n in ("oci.tar", "docker.tar", "dual.tar", "rootfs.tar"))
    folder, layout = w.path / "rootfs", w.path / "layout"
    done = w.build(context, "-t", "app:v1", "-o", f"type=oci,dest={oci}", "-o", f"type=docker,dest={docker}", "-o", dual,
                   "-o", f"type=tar,dest={rootfs}", "-o", f"type=local,dest={folder}", "-o", f"type=oci,tar=false,dest={layout}")
    with tarfile.open(oci) as tar:
        if "manifest.json" in tar.getnames():
            raise AssertionError("type=oci must not hold Docker's manifest.json")
    equal(docker.read_bytes(), dual.read_bytes(), "-o app.tar and type=docker")
    index, manifest, config, _ = layout_of(dual, w.path / "unpacked")
    equal(index["manifests"][0]["digest"], done.out.strip(), "digest in the archive")
    equal(config["config"]["Labels"], {"k": "v"}, "labels")
    equal((folder / "x" / "a").read_text(), "one", "file in the folder")
    with tarfile.open(rootfs) as tar:
        equal(tar.getnames(), ["x", "x/a", "x/c"], "root file system")
    equal(sorted(p.name for p in layout.iterdir() if not p.name.endswith(".lock")), ["blobs", "index.json", "oci-layout"], "layout")
    to_stdout = subprocess.run([PROGRAM, "-o", "-", context], capture_output=True, check=True,
                               env={**w.environment, "IMGBUILD_ROOT": str(w.store)})
    equal(to_stdout.stdout, rootfs.read_bytes(), "tar on standard output")


@test
def an_archive_that_is_there_already_is_not_written_again(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY file /file\n", "file": "x" * 5000})
    target, output = w.path / "app.tar", f"type=oci,dest={w.path / 'app.tar'}"
    w.build(context, "-o", output)
    right, first = target.read_bytes(), target.stat()
    w.build(context, "-o", output)
    second = target.stat()
    equal((second.st_ino, target.read_bytes()), (first.st_ino, right), "the archive of an unchanged build")
    if second.st_mtime_ns <= first.st_mtime_ns:
        raise AssertionError("an output that was asked for looks older than its inputs")

    def changed_in_place():
        with open(target, "r+b") as file:
            file.seek(5000)
            file.write(b"changed")

    def changed_with_its_time_put_back():
        before = target.stat()
        changed_in_place()
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))

    def changed_right_after_the_build():
        w.build(context, "-o", output)
        changed_in_place()

    def another_file():
        copy = w.path / "copy"
        copy.write_bytes(b"x" * len(right))
        copy.rename(target)

    def remembered_wrongly():
        changed_in_place()
        memory = w.store / "archives"
        memory.write_bytes(memory.read_bytes().replace(b"end ", b"end 0"))

    for damage in (changed_in_place, changed_with_its_time_put_back, changed_right_after_the_build, another_file, remembered_wrongly,
                   target.unlink, lambda: os.truncate(target, 100)):
        damage()
        w.build(context, "-o", output)
        equal(target.read_bytes() == right, True, f"the archive is right again after: {getattr(damage, '__name__', damage)}")
        w.build(context, "-o", output)
        equal(target.read_bytes() == right, True, "the archive is still right")
    w.build(context, "-o", output, "-t", "named:v1")
    equal(target.read_bytes() == right, False, "the archive without a name stays after a build with one")
    w.build(context, "-o", f"type=docker,dest={target}", "-t", "named:v1")
    contains(command("tar", "tf", target).stdout.decode(), "manifest.json")


@test
def skopeo_and_umoci_accept_the_archives(w):
    context = w.folder("context", PLAIN)
    archive = w.path / "app.tar"
    w.build(context, "-t", "app:v1", "-o", archive)
    for kind in ("oci-archive", "docker-archive"):
        equal(json.loads(command(need("skopeo"), "inspect", f"{kind}:{archive}").stdout)["Architecture"] != "", True, kind)
    command(need("skopeo"), "copy", "-q", f"oci-archive:{archive}", f"oci:{w.path}/layout:v1")
    bundle = w.path / "bundle"
    if os.geteuid() != 0:
        command(need("umoci"), "unpack", "--rootless", "--image", f"{w.path}/layout:v1", bundle)
    else:
        command(need("umoci"), "unpack", "--image", f"{w.path}/layout:v1", bundle)
    equal((bundle / "rootfs/x/c").read_text(), "two", "unpacked file")


@test
def a_base_can_come_from_an_archive_or_a_layout_folder(w):
    base = w.folder("base", {"Dockerfile": "FROM scratch\nCOPY f /base\nENV FROM_BASE=yes\n", "f": "base"})
    archive, layout = w.path / "base.tar", w.path / "layout"
    w.build(base, "-t", "mybase:1", "-o", archive, "-o", f"type=oci,tar=false,dest={layout}")
    child = w.folder("child", {"Dockerfile": "FROM mybase:1\nCOPY g /child\n", "g": "child"})
    digests = set()
    for arguments in (["--build-context", f"mybase:1=oci-layout://{layout}"], None):
        store = w.path / ("a" if arguments else "b")
        if not arguments:
            w.run("load", "-i", archive, "--root", store)
        out = w.path / "child.tar"
        digests.add(w.build(child, "--root", store, "--source-date-epoch", "0", *(arguments or []), "-o", out).out)
        image = Image(out)
        equal(image.read("/base"), b"base", "file of the base")
        contains(" ".join(image.config["config"]["Env"]), "FROM_BASE=yes")
    equal(len(digests), 1, "digests by the two ways")


@test
def a_base_is_pulled_from_a_registry_on_loopback(w):
    server = need("docker-registry")
    base = w.folder("base", {"Dockerfile": "FROM scratch\nCOPY f /base\n", "f": "base"})
    layout = w.path / "layout"
    w.build(base, "-o", f"type=oci,tar=false,dest={layout}", "-t", "x:1")
    with __import__("socket").socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = w.path / "registry.yml"
    config.write_text(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {w.path}/registry}}}}\n"
                      f"http: {{addr: '127.0.0.1:{port}'}}\n")
    process = subprocess.Popen([server, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with __import__("socket").socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        command(need("skopeo"), "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:1", f"docker://127.0.0.1:{port}/some/base:1")
        child = w.folder("child", {"Dockerfile": f"FROM 127.0.0.1:{port}/some/base:1\nCOPY g /child\n", "g": "child"})
        out = w.path / "child.tar"
        w.build(child, "--root", w.path / "other-store", "-o", out)
        equal(Image(out).read("/base"), b"base", "file of the base")
        wrong = w.folder("wrong", {"Dockerfile": f"FROM 127.0.0.1:{port}/some/other:1\n"})
        result = w.build(wrong, ok=False)
        equal(result.code, 5, "exit code for an image that is not there")
        contains(result.err, "Dockerfile:1")
    finally:
        process.terminate()
        process.wait()
    # The registry is gone; the image is in the store under its name, so nothing is asked.
    equal(w.build(child, "--root", w.path / "other-store").ran, [], "steps run offline")


@test
def a_base_nobody_looks_into_is_not_unpacked(w):
    base = w.folder("base", {"Dockerfile": "FROM scratch\nCOPY f /base\n", "f": "base"})
    w.build(base, "-t", "mybase:1")
    for dockerfile in ("FROM mybase:1\nLABEL a=b\n", "FROM mybase:1\nCOPY g /child\nWORKDIR /w\n",
                       "FROM scratch\nCOPY --from=mybase:1 /none* /\nCOPY --link g /\n"):
        w.build(w.folder("child", {"Dockerfile": dockerfile, "g": "child"}))
    unpacked = list((w.store / "layers").iterdir()) if (w.store / "layers").exists() else []
    equal(unpacked, [], "unpacked layers")


@test
def a_base_is_pulled_over_https_when_its_certificate_is_trusted(w):
    need_root()
    openssl, server, ip = need("openssl"), need("docker-registry"), need("ip")
    key, certificate, address = w.path / "key.pem", w.path / "cert.pem", "192.0.2.10"
    command(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
            "-subj", "/CN=registry", "-addext", f"subjectAltName=IP:{address}")
    layout = w.path / "layout"
    w.build(w.folder("base", {"Dockerfile": "FROM scratch\nCOPY f /base\n", "f": "base"}), "-t", "x:1",
            "-o", f"type=oci,tar=false,dest={layout}")
    config = w.path / "registry.yml"
    config.write_text(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {w.path}/registry}}}}\n"
                      f"http: {{addr: '{address}:5443', tls: {{certificate: {certificate}, key: {key}}}}}\n")
    # A network of its own with an address that is not loopback, where plain HTTP is not spoken.
    network = f"imgbuild-test-{os.getpid()}"
    command(ip, "netns", "add", network)
    inside = [ip, "netns", "exec", network]
    process = None
    try:
        command(*inside, ip, "link", "set", "lo", "up")
        command(*inside, ip, "addr", "add", f"{address}/32", "dev", "lo")
        process = subprocess.Popen([*inside, server, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        push = [*inside, need("skopeo"), "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:1", f"docker://{address}:5443/base:1"]
        for _ in range(50):
            if command(*push, ok=False).returncode == 0:
                break
            time.sleep(0.1)
        w.prefix = inside
        child = w.folder("child", {"Dockerfile": f"FROM {address}:5443/base:1\nCOPY g /child\n", "g": "child"})
        refused = w.run("build", "--root", w.path / "other", child, ok=False, env={"SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": "/none"})
        equal(refused.code, 5, "exit code for a certificate nobody vouches for")
        contains(refused.err.lower(), "certificate")
        out = w.path / "child.tar"
        w.build(child, "--root", w.path / "other", "-o", out, env={"SSL_CERT_FILE": str(certificate)})
        equal(Image(out).read("/base"), b"base", "file of the base")
    finally:
        if process:
            process.terminate()
            process.wait()
        command(ip, "netns", "delete", network)


@test
def a_context_can_come_on_standard_input(w):
    archive = w.path / "context.tar"
    folder = w.folder("context", PLAIN)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=".")
    out = w.path / "out.tar"
    w.build("-", "-o", out, stdin=archive.read_bytes())
    equal(Image(out).read("/x/a"), b"one", "file")
    w.build("-", stdin=b"FROM scratch\nLABEL a=b\n")
    w.build(folder, "-f", "-", "-o", out, stdin=b"FROM scratch\nCOPY a /from-stdin\n")
    equal(Image(out).read("/from-stdin"), b"one", "file")


@test
def a_fixed_epoch_makes_two_stores_agree(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY a /x/a\nWORKDIR /w\nCOPY <<E /h\nhi\nE\n", "a": "x"})
    digests = set()
    for store in ("one", "two"):
        digests.add(w.build(context, "--root", w.path / store, "--source-date-epoch", "1000000000").out)
        os.utime(context / "a")
    equal(len(digests), 1, "digests")


@test
def a_wrong_dockerfile_is_shown_with_its_line(w):
    cases = {
        "FROM scratch\nCOPPY a /\n": (3, "Dockerfile:2", "COPY"),
        "FROM scratch\nCOPY --form=x a /\n": (3, "Dockerfile:2", "from"),
        "FROM scratch\nCOPY a\n": (3, "Dockerfile:2", "two arguments"),
        "FROM scratch\nENV A=${B:?must be given}\n": (3, "Dockerfile:2", "must be given"),
        "RUN x\n": (3, "Dockerfile:1", "FROM"),
        "": (3, "Dockerfile", "empty"),
        "FROM scratch\nCOPY nothing /\n": (1, "Dockerfile:2", "not found"),
        "FROM Upper\n": (None, "Dockerfile:1", "lowercase"),
    }
    for text, (code, place, part) in cases.items():
        context = w.folder("context", {"Dockerfile": text})
        result = w.run("build", context, ok=False)
        if code is not None:
            equal(result.code, code, f"exit code for {text!r}")
        contains(result.err, place)
        contains(result.err, part)


@test
def a_file_an_ignore_rule_hides_is_named_with_that_rule(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY secret.txt /\n", ".dockerignore": "# notes\n*.txt\n", "secret.txt": "x"})
    result = w.run("build", context, ok=False)
    contains(result.err, "line 2")
    contains(result.err, ".dockerignore")


@test
def wrong_options_are_refused_with_what_was_meant(w):
    context = w.folder("context", PLAIN)
    for arguments, part in ((["-o", "type=ocii,dest=x"], "did you mean oci"), (["-o", "type=oci"], "dest"),
                            (["-o", "type=oci,dst=x"], "did you mean dest"), (["--progress", "loud"], "plain"),
                            (["--platform", "linux/"], "platform"), (["-t", "UPPER"], "lowercase"),
                            (["--secret", "src=x"], "id"), (["--build-context", "x"], "NAME=VALUE"),
                            (["--network", "bridge"], "none"), (["--compression", "lzma"], "gzip")):
        result = w.run("build", *arguments, context, ok=False)
        equal(result.code, 2, f"exit code for {arguments}")
        contains(result.err, part)
    equal(w.run("build", w.path / "nowhere", ok=False).code, 2, "exit code for a missing context")
    equal(w.run("--no-such-option", ok=False).code, 2, "exit code for an unknown option")


@test
def checks_report_in_text_and_json(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch as Build\nLABEL a=b\n"})
    result = w.run("build", "--check", context, ok=None)
    equal(result.code, 1, "exit code")
    contains(result.out, "StageNameCasing")
    report = json.loads(w.run("build", "--call=check,format=json", context, ok=None).out)
    equal(report["error"], None, "error")
    equal({warning["line"] for warning in report["warnings"]}, {1}, "lines")
    broken = w.folder("broken", {"Dockerfile": "FROM scratch\nCOPY\n"})
    report = json.loads(w.run("build", "--call=check,format=json", broken, ok=None).out)
    equal(report["error"]["line"], 2, "line of the error")
    contains(w.run("build", "--call=targets", context).out, "(default)")


@test
def reports_are_written_where_asked(w):
    context = w.folder("context", PLAIN)
    done = w.run("build", "-q", "--iidfile", w.path / "iid", "--metadata-file", w.path / "meta", "-t", "app:v1", context)
    equal((w.path / "iid").read_text(), done.out.strip(), "image ID")
    meta = json.loads((w.path / "meta").read_text())
    equal(meta["containerimage.config.digest"], done.out.strip(), "config digest")
    equal(meta["image.name"], "docker.io/library/app:v1", "name")
    contains(w.run("images").out, "app:v1")
    equal(json.loads(w.run("inspect", "app:v1").out)["config"]["Labels"], {"k": "v"}, "labels")
    contains(w.run("inspect", "ap:v1", ok=False).err, "did you mean app:v1")


@test
def atk_148_an_odd_process_environment_does_no_harm(w):
    context = w.folder("context", PLAIN)
    expected = w.run("-q", context).out
    for number, redirect in enumerate(("<&-", ">&-", "2>&-", "<&- >&- 2>&-")):
        store = w.path / f"store-{number}"
        subprocess.run(["sh", "-c", f'exec "{PROGRAM}" --root "{store}" "{context}" {redirect}'], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, env=w.environment)
        for blob in (store / "blobs" / "sha256").iterdir():
            equal(__import__("hashlib").sha256(blob.read_bytes()).hexdigest(), blob.name, "digest of a blob")
    for umask in (0, 0o777):
        done = subprocess.run([PROGRAM, "-q", "--root", w.path / f"store-{umask}", context], capture_output=True, text=True, env={},
                              umask=umask, check=True)
        equal(len(done.stdout), len(expected), "image ID")
        equal(os.stat(w.path / f"store-{umask}").st_mode & 0o022, 0, "rights of others to the store")


@test
def a_store_of_somebody_else_or_of_the_future_is_refused(w):
    context = w.folder("context", PLAIN)
    w.build(context)
    (w.store / "format").write_text("imgbuild-store 99\n")
    equal(w.run("build", context, ok=False).code, 8, "exit code")
    (w.store / "format").write_text("imgbuild-store 1\n")
    os.chmod(w.store, 0o777)
    contains(w.run("build", context, ok=False).err, "written by others")


if __name__ == "__main__":
    run()
