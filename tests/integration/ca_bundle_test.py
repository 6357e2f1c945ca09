"""--ca-bundle and proxy variables: trusted in RUN and by the builder itself, and afterwards nowhere."""
import pathlib
import ssl
import subprocess

from attack_support import Image, Server, Tar
from bases import client_base
from case_files import Image as Built
from harness import command, contains, equal, need, need_root, run, test
from network_test import namespace

PATHS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/ca-bundle.pem")


def authority(w, name="ca"):
    """A certificate authority and a server certificate of it for localhost: (ca.pem, ssl context)."""
    need("openssl")
    ca, key, server = w.path / f"{name}.pem", w.path / f"{name}.key", w.path / f"{name}-server"
    command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN=test {name}",
            "-keyout", key, "-out", ca, "-addext", "basicConstraints=critical,CA:TRUE")
    command("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-keyout", f"{server}.key", "-out", f"{server}.csr")
    (w.path / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    command("openssl", "x509", "-req", "-in", f"{server}.csr", "-CA", ca, "-CAkey", key, "-CAcreateserial", "-days", "2", "-extfile", w.path / "ext", "-out", f"{server}.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{server}.pem", f"{server}.key")
    return ca, context


def base_with_bundles(w):
    """client: busybox, curl and a bundle of a certificate of its own at every known place; one is a link."""
    w.busybox()
    client_base(w, "curl")
    own, _ = authority(w, "own")
    lines = "".join(f"COPY own.pem {path}\n" for path in PATHS)
    context = w.folder("bundles", {"own.pem": own.read_text(), "Dockerfile": f"FROM client\n{lines}RUN mkdir -p /etc/pki/tls/certs && ln -s ../../../..{PATHS[1]} /etc/pki/tls/certs/ca-bundle.crt && ln -s certs/ca-certificates.crt /etc/ssl/cert.pem && ls -ld /etc /etc/ssl /etc/ssl/certs\n"})
    w.run("build", "--progress=quiet", "-t", "client", context)
    return own


def no_trace(w, ca):
    """Nothing in the store, which has the image's layers, too, holds the certificate's own text."""
    marker = "".join(ca.read_text().splitlines()[2:4])
    for path in pathlib.Path(w.store).rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if data.startswith(b"\x1f\x8b"):
                data = command(need("gzip"), "-dc", path, ok=False).stdout
            equal(marker.encode() in data.replace(b"\n", b""), False, f"the certificate in {path}")


@test
def a_private_authority_is_trusted_in_run_and_leaves_no_trace(w):
    base_with_bundles(w)
    ca, context = authority(w)
    archive = w.path / "out.tar"
    with Server({"/": (200, {}, b"over tls")}, context) as server:
        body = (f"RUN curl -sf {server.url}/ > /by-variable\n"
                + "".join(f"RUN env -u CURL_CA_BUNDLE -u SSL_CERT_FILE curl -sf --cacert {path} {server.url}/ > /by-path{i}\n" for i, path in enumerate([*PATHS, "/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt"]))
                + "RUN env | grep -c /run/imgbuild/ca-bundle.pem > /count\n")
        build = w.folder("context", {"Dockerfile": "FROM client\n" + body})
        refused = w.build(build, ok=False)
        contains(refused.err, "exit code: 60" if "exit code: 60" in refused.err else "exit code: 77")
        w.build(build, "--ca-bundle", ca, "-o", archive)
        image = Built(archive)
        for i in range(5):
            equal(image.read(f"/by-path{i}"), b"over tls", "the answer")
        equal(image.read("/by-variable"), b"over tls", "the answer")
        equal(image.read("/count"), b"10\n", "variables")
        no_trace(w, ca)
        # Part of no key: without it, with it, with another one, nothing runs again.
        other, _ = authority(w, "other")
        for options in ([], ["--ca-bundle", ca], ["--ca-bundle", other]):
            equal(w.build(build, *options).ran, [], "steps run again")
    plain = w.folder("plain", {"Dockerfile": "FROM client\nRUN true\nRUN echo x > /etc/ssl/certs/mine.pem\n"})
    layers = []
    for options in ([], ["--ca-bundle", ca]):
        w.build(plain, "--no-cache", "--source-date-epoch=1", "-o", archive, *options)
        layers.append([layer["digest"] for layer in Built(archive).manifest["layers"]][-2:])
    equal(layers[0], layers[1], "layers without and with the option")


@test
def a_bundle_the_command_changes_keeps_its_change_alone(w):
    own = base_with_bundles(w)
    ca, _ = authority(w)
    archive = w.path / "out.tar"
    for what, line, expected in (("appended", f"echo '# mine' >> {PATHS[0]}", own.read_text() + "# mine\n"),
                                 ("replaced by renaming", f"echo new > /n && mv /n {PATHS[0]}", "new\n"),
                                 ("written anew", f"echo new > {PATHS[0]}", "new\n"),
                                 ("touched", f"touch {PATHS[0]}", own.read_text()),
                                 ("with another mode", f"chmod 600 {PATHS[0]}", own.read_text())):
        w.build(w.folder("context", {"Dockerfile": f"FROM client\nRUN {line}\n"}), "--ca-bundle", ca, "-o", archive)
        equal(Built(archive).read(PATHS[0]).decode(), expected, what)
        no_trace(w, ca)
    w.build(w.folder("context", {"Dockerfile": f"FROM client\nRUN rm {PATHS[0]} && rm -r /etc/pki\nRUN ls -A /etc > /left\n"}), "--ca-bundle", ca, "-o", archive)
    equal("pki" in Built(archive).read("/left").decode(), False, "a removed folder")


@test
def an_image_with_links_to_the_outside_gets_nothing_there(w):
    ca, _ = authority(w)
    w.busybox()
    outside = w.path / "outside"
    outside.mkdir()
    (outside / "ca-certificates.crt").write_text("host")
    for target in (outside, pathlib.Path("/../../../../" + str(outside).lstrip("/"))):
        context = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN mkdir -p /etc/ssl && ln -s {target} /etc/ssl/certs && ln -s {outside}/ca-certificates.crt /etc/ssl/cert.pem\nRUN true\n"})
        w.build(context, "--ca-bundle", ca, "--no-cache")
        equal((outside / "ca-certificates.crt").read_text(), "host", "the file outside")
    context = w.folder("odd", {"Dockerfile": "FROM busybox\nRUN mkdir -p /etc/ssl/certs/ca-certificates.crt /etc/pki/tls && mkfifo /etc/pki/tls/cert.pem && ln -s loop /etc/ssl/cert.pem && ln -s cert.pem /etc/ssl/loop\nRUN true\n"})
    w.build(context, "--ca-bundle", ca, timeout=60)


@test
def the_builder_itself_trusts_it_for_registries_add_and_git(w):
    ca, context = authority(w)
    image = Image([Tar().add("f", b"pulled").end()])
    with Server({"/file": (200, {}, b"added"), **image.routes("a/b")}, context) as server:
        host = server.host.replace("127.0.0.1", "localhost")
        build = w.folder("context", {"Dockerfile": f"FROM {host}/a/b\nADD https://{host}/file /added\n"})
        git = w.folder("git", {"Dockerfile": f"FROM scratch\nADD https://{host}/repo.git /r\n"})
        # A registry on loopback may speak http, which this one does not.
        equal(w.build(build, ok=False).code, 5, "exit code without the authority")
        contains(w.build(git, ok=False).err, "certificate")
        equal("certificate problem" in w.build(git, "--ca-bundle", ca, ok=False).err, False, "git's trust")
        add = w.folder("add", {"Dockerfile": f"FROM scratch\nADD https://{host}/file /added\n"})
        equal(w.build(add, ok=False).code, 5, "exit code of ADD without the authority")
        w.build(add, "--ca-bundle", ca, "-o", w.path / "out.tar")
        equal(Built(w.path / "out.tar").read("/added"), b"added", "the file")


@test
def wrong_bundles_are_refused(w):
    ca, _ = authority(w)
    build = w.folder("context", {"Dockerfile": "FROM scratch\n"})
    (w.path / "text").write_text("no certificate")
    (w.path / "empty").write_text("")
    (w.path / "damaged").write_text(ca.read_text()[:300] + "\n-----END CERTIFICATE-----\n")
    (w.path / "key").write_text(ca.read_text() + (w.path / "ca.key").read_text())
    for name, reason in (("text", "holds no certificate"), ("empty", "holds no certificate"), ("damaged", "damaged"), ("key", "private key"), ("nowhere", "cannot be opened")):
        result = w.run("build", "--ca-bundle", w.path / name, build, ok=False)
        equal(result.code, 2, f"exit code of {name}")
        contains(result.err, reason)


@test
def proxies_reach_run_in_both_spellings_and_nothing_else(w):
    w.busybox()
    build = w.folder("context", {"Dockerfile": "FROM busybox\nRUN env | grep -i proxy | sort > /proxies\n"})
    archive = w.path / "out.tar"
    proxies = {"HTTP_PROXY": "http://proxy.example:1", "https_proxy": "http://proxy.example:2", "NO_PROXY": "localhost,.example", "ALL_PROXY": "socks5://x:3"}
    w.build(build, "-o", archive, env=proxies)
    image = Built(archive)
    expected = []
    for name, value in proxies.items():
        expected += [f"{name.lower()}={value}", f"{name.upper()}={value}"]
    equal(image.read("/proxies").decode().splitlines(), sorted(expected), "variables in RUN")
    equal("proxy.example" in str(image.config), False, "proxies in the configuration")
    equal(w.build(build, env={"http_proxy": "http://other.example:9"}).ran, [], "steps run again for another proxy")
    given = w.build(build, "--no-cache", "--build-arg", "HTTP_PROXY=http://given.example:1", "-o", archive, env=proxies)
    contains(Built(archive).read("/proxies").decode(), "http_proxy=http://given.example:1\n")
    equal(len(given.ran), 1, "steps run")


@test
def a_tls_server_in_a_network_namespace_is_reached_and_trusted(w):
    need_root()
    need("nsenter")
    base_with_bundles(w)
    ca, _ = authority(w)
    with namespace("198.51.100.9") as path:
        server = subprocess.Popen(["nsenter", f"--net={path}", need("openssl"), "s_server", "-accept", "4433", "-www", "-quiet", "-cert", f"{w.path}/ca-server.pem", "-key", f"{w.path}/ca-server.key"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            build = w.folder("context", {"Dockerfile": "FROM client\nRUN for i in 1 2 3 4 5 6 7 8 9 10; do curl -sf https://localhost:4433/ > /answer && break; sleep 0.3; done; test -s /answer\n"})
            equal(w.build(build, f"--network=ns:{path}", ok=False).code, 4, "exit code without the authority")
            w.build(build, f"--network=ns:{path}", "--ca-bundle", ca)
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    run()
