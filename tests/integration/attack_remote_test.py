"""Attack catalogue: registries, downloads, mounts, environment and names, through the program as it is used."""
import json
import os
import pathlib
import shutil
import stat
import subprocess
import time

from attack_support import OCI, Canary, Image, Server, Tar, digest
from case_files import Image as Built
from harness import command, contains, equal, need, need_root, run, test

PLAIN = Tar().add("f", b"content").end()


def pull(w, routes, ok=None, name="a/b", **more):
    """FROM of an image that a scripted registry offers."""
    with Server(routes) as server:
        context = w.folder("pull", {"Dockerfile": f"FROM {server.host}/{name}\nCOPY --from={server.host}/{name} /f /g\n"})
        result = w.build(context, ok=ok, timeout=60, **more)
        result.requests = server.requests
    return result


def stored(w, data):
    return any(path.name == digest(data).partition(":")[2] for path in pathlib.Path(w.store).rglob("*"))


@test
def bytes_that_are_not_what_they_should_be_are_not_stored_atk_80_atk_81(w):
    good = Image([PLAIN])
    pull(w, good.routes("a/b"), ok=True)
    shutil.rmtree(w.store)
    layer = good.manifest["layers"][0]["digest"]
    real = good.blobs[layer]
    for what, body in (("other", b"x" * len(real)), ("longer", real + b"x"), ("shorter", real[:-1]), ("empty", b"")):
        routes = good.routes("a/b")
        routes[f"/v2/a/b/blobs/{layer}"] = (200, {}, body)
        result = pull(w, routes, ok=False)
        equal(result.code in (5, 6), True, f"{what}: {result!r}")
        equal(stored(w, real) or stored(w, body), False, f"the {what} layer in the store")
    shutil.rmtree(w.store)
    routes = good.routes("a/b")
    config = good.manifest["config"]["digest"]
    routes[f"/v2/a/b/blobs/{config}"] = (200, {}, b"{}")
    equal(pull(w, routes, ok=False).code in (5, 6), True, "another config")


@test
def documents_are_bounded_and_mean_one_thing_atk_82_atk_83_atk_92(w):
    image = Image([PLAIN])
    manifest = json.dumps(image.manifest)
    documents = {
        "both": json.dumps({**image.manifest, "manifests": []}), "twice": manifest[:-1] + ', "layers": []}', "null": json.dumps({**image.manifest, "layers": None}),
        "null layer": json.dumps({**image.manifest, "layers": [None]}), "deep": "[" * 100000, "trailing": manifest + "{}", "number": manifest.replace('"size": ', '"size": -', 1),
        "huge": manifest.replace('"size": ', '"size": 9223372036854775808', 1), "float": manifest.replace('"size": ', '"size": 1e3', 1), "text": "NaN", "bytes": '{"schemaVersion":2,"x":"\udcff"}',
        "large": manifest + " " * (5 << 20), "schema 1": json.dumps({"schemaVersion": 1, "fsLayers": []}), "type": json.dumps({**image.manifest, "mediaType": OCI + "index.v1+json"}),
    }
    for name, text in documents.items():
        data = text.encode(errors="surrogateescape")
        routes = image.routes("a/b")
        answer = (200, {"Content-Type": image.manifest["mediaType"], "Docker-Content-Digest": digest(data)}, data)
        routes["/v2/a/b/manifests/latest"] = routes[f"/v2/a/b/manifests/{digest(data)}"] = answer
        result = pull(w, routes, ok=False)
        equal(result.code in (5, 6, 8), True, f"exit code of {name}: {result!r}")
    for name, config in {"deep": b"[" * 1000000, "labels": json.dumps({"config": {"Labels": None, "Env": [None]}}).encode(), "null": b"null", "history": b'{"history": [1]}'}.items():
        image = Image([PLAIN])
        image.manifest["config"] = image.put(config, OCI + "config.v1+json")
        equal(pull(w, image.routes("a/b"), ok=False).code in (5, 6), True, f"config {name}")


@test
def digests_are_checked_before_they_are_asked_for_atk_84(w):
    canary = Canary(w)
    for text in ("sha256:../../../etc/passwd", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 32, "sha256:", "sha256:" + "a" * 64 + "/../x"):
        image = Image([PLAIN])
        image.manifest["layers"][0]["digest"] = text
        result = pull(w, image.routes("a/b"), ok=False)
        equal(any("blobs" in path for _, path, _ in result.requests if text in path), False, f"a request for {text}")
        context = w.folder("from", {"Dockerfile": f"FROM 127.0.0.1:1/a/b@{text}\n"})
        w.build(context, ok=False, timeout=30)
    canary.check()


@test
def urls_of_foreign_layers_are_never_followed_atk_85_atk_86(w):
    with Server({}) as attacker:
        image = Image([PLAIN], layer_type=OCI + "layer.nondistributable.v1.tar+gzip")
        image.manifest["layers"][0]["urls"] = [attacker.url + "/layer", "file:///etc/passwd", "http://169.254.169.254/x"]
        routes = image.routes("a/b")
        del routes["/v2/a/b/blobs/" + image.manifest["layers"][0]["digest"]]
        equal(pull(w, routes, ok=False).code in (5, 6, 8), True, "exit code")
        equal(attacker.requests, [], "requests to the attacker")


@test
def credentials_and_token_requests_stay_with_the_registry_atk_87_atk_89_atk_90(w):
    image = Image([PLAIN])
    with Server({}) as attacker:
        for realm in ("http://169.254.169.254/t", attacker.url.replace("127.0.0.1", "127.0.0.2") + "/t", "file:///etc/passwd", "https://user:pw@example.invalid/t", "//x", "gopher://127.0.0.1/", ""):
            routes = {"/v2/a/b/manifests/latest": (401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s",scope="repository:other/repo:pull,push"'}, b"")}
            equal(pull(w, routes, ok=False).code, 5, f"exit code of {realm}")
        for header in ('Bearer realm="unterminated', "Bearer", "Negotiate", 'Bearer realm="a",realm="b"', ", , ,", "Bearer realm=" + "x" * 60000):
            equal(pull(w, {"/v2/a/b/manifests/latest": (401, {"WWW-Authenticate": header}, b"")}, ok=False).code, 5, f"exit code of {header[:40]}")
        equal(attacker.requests, [], "requests to the attacker")
    for name, body in {"long": b'{"token":"' + b"x" * (2 << 20) + b'"}', "line": b'{"token":"a\\r\\nX-Evil: 1"}', "none": b"{}", "null": b'{"token":null}', "text": b"<html>",
                       "expiry": b'{"token":"t","expires_in":-1}', "expiry of ages": b'{"token":"t","expires_in":1000000000000000000}'}.items():
        routes = image.routes("a/b")
        blocked = dict(routes)
        def manifest(handler, routes=routes):
            if handler.headers.get("Authorization") == "Bearer t":
                return routes["/v2/a/b/manifests/latest"]
            return 401, {"WWW-Authenticate": f'Bearer realm="http://{handler.headers["Host"]}/token",service="s"'}, b""
        blocked["/v2/a/b/manifests/latest"] = manifest
        blocked["/token"] = (200, {"Content-Type": "application/json"}, body)
        result = pull(w, blocked)
        equal(result.code in ((0,) if name.startswith("expiry") else (5, 6)), True, f"exit code of a token that is {name}: {result.err}")
        equal(any("X-Evil" in headers for _, _, headers in result.requests), False, "an injected header")


@test
def broken_transfers_end_in_the_right_bytes_or_an_error_atk_94(w):
    image = Image([Tar().add("f", os.urandom(300000)).end()])
    layer = image.manifest["layers"][0]["digest"]
    real = image.blobs[layer]

    def cut(handler):
        start = handler.headers.get("Range")
        if start:
            at = int(start[len("bytes="):-1])
            return 206, {"Content-Range": f"bytes {at}-{len(real) - 1}/{len(real)}"}, real[at:]
        handler.send_response_only(200)
        handler.send_header("Content-Length", str(len(real)))
        handler.end_headers()
        handler.wfile.write(real[:100000])
        handler.close_connection = True
        return None

    def wrong_range(handler):
        if handler.headers.get("Range"):
            return 206, {"Content-Range": f"bytes 5-{len(real) - 1}/{len(real)}"}, real[5:]
        return cut(handler)

    for answer in (cut, wrong_range, lambda _: (200, {"Content-Encoding": "gzip"}, real)):
        shutil.rmtree(w.store, ignore_errors=True)
        routes = image.routes("a/b")
        routes[f"/v2/a/b/blobs/{layer}"] = answer
        result = pull(w, routes)
        equal(result.code == 0 or not stored(w, real[:100000]), True, repr(result))
    endless = image.routes("a/b")
    endless["/v2/a/b/manifests/latest"] = (200, {f"X-{i}": "y" * 1000 for i in range(90)}, b"")
    equal(pull(w, endless, ok=False).code, 5, "endless headers")


@test
def names_from_images_are_data_atk_96(w):
    canary = Canary(w)
    evil = {"org.opencontainers.image.title": "../../x", "-o": "$(id)", "x\ny": "`touch " + str(canary.folder) + "/a`", "path": str(canary.folder) + "/b"}
    image = Image([PLAIN], config={"Labels": evil, "Env": ["A=$(id)", "AWS_SECRET_ACCESS_KEY", "=x", "*"], "Cmd": ["-o", "../x"]})
    image.manifest["annotations"] = evil
    image.manifest["layers"][0]["annotations"] = evil
    layout = image.layout(w.path / "layout")
    context = w.folder("context", {"Dockerfile": "FROM base\nLABEL more=1\n"})
    for output in (f"type=oci,dest={w.path / 'a.tar'}", f"type=docker,dest={w.path / 'b.tar'}", f"type=local,dest={w.path / 'local'}", f"type=oci,tar=false,dest={w.path / 'layout-out'}"):
        result = w.build(context, "--build-context", f"base=oci-layout://{layout}", "-o", output, ok=None)
        canary.check(result.err)
    platform = Image([PLAIN])
    platform.config["architecture"] = "../../x"
    platform.manifest["config"] = platform.put(json.dumps(platform.config).encode(), OCI + "config.v1+json")
    w.build(context, "--build-context", f"base=oci-layout://{platform.layout(w.path / 'platform')}", ok=None)
    canary.check()


@test
def layouts_and_archives_are_read_beneath_themselves_atk_97(w):
    canary = Canary(w)
    context = w.folder("context", {"Dockerfile": "FROM base\nCOPY --from=base / /copy\n"})

    def attempt(change):
        layout = Image([PLAIN]).layout(w.path / f"layout-{len(list(w.path.glob('layout-*')))}")
        change(layout)
        result = w.build(context, "--build-context", f"base=oci-layout://{layout}", ok=False, timeout=30)
        canary.check(result.err, result.out)

    def replace(pattern, make):
        def change(layout):
            for path in list(layout.glob(pattern)):
                path.unlink()
                make(path)
        return change

    for pattern in ("index.json", "blobs/sha256/*", "oci-layout"):
        attempt(replace(pattern, lambda path: path.symlink_to(canary.file)))
        attempt(replace(pattern, os.mkfifo))
        attempt(replace(pattern, pathlib.Path.mkdir))
    for member in ("../../etc/passwd", str(canary.file), "/etc/passwd"):
        docker = w.path / "docker.tar"
        docker.write_bytes(Tar().add("manifest.json", json.dumps([{"Config": member, "RepoTags": ["../x:y"], "Layers": [member]}]).encode()).link("l", member).end())
        result = w.run("load", "-i", docker, ok=False, timeout=30)
        canary.check(result.err, result.out)


@test
def references_that_confuse_are_refused_atk_99(w):
    for name in ("host:99999/x", "a/../b", "x@sha256:aa", "x@y@sha256:" + "a" * 64, "A/b", "a//b", "-x", "a b", "x" * 10240, "хост/x", "a/b:" + "t" * 129, "x:..", "http://x/y", "a/b:t@", "[::1]/x y"):
        context = w.folder("context", {"Dockerfile": f"FROM {name}\n"})
        result = w.build(context, ok=False, timeout=20)
        equal(result.code in (2, 3, 5), True, f"exit code of {name[:40]}: {result.code} {result.err[:200]}")


@test
def downloads_are_redirected_to_the_web_only_atk_122(w):
    canary = Canary(w)
    context = w.folder("context", {})

    def add(url, *options):
        (context / "Dockerfile").write_text(f"FROM scratch\nADD {url} /f\n")
        result = w.build(context, *options, "--no-cache", ok=False, timeout=60)
        canary.check(result.err)
        return result

    with Server({}) as server:
        server.routes = {"/loop": (302, {"Location": "/loop"}, b""), "/ok": (200, {}, b"fine"), "/good": (302, {"Location": "/ok"}, b"")}
        for target in (f"file://{canary.file}", "gopher://127.0.0.1:1/x", "dict://127.0.0.1:1/x", "ftp://127.0.0.1/x", "http://user:pw@127.0.0.1/x", "javascript:x", "//"):
            server.routes["/r"] = (302, {"Location": target}, b"")
            equal(add(server.url + "/r").code in (5, 7), True, target)
        equal(add(server.url + "/loop").code, 5, "a loop")
        for url in (f"file://{canary.file}", "gopher://x/y", "ftp://x/y"):
            (context / "Dockerfile").write_text(f"FROM scratch\nADD {url} /f\n")
            canary.check(w.build(context, ok=None, timeout=30).err)
        before = len(server.requests)
        for url in (server.url + "/ok", server.url.replace("127.0.0.1", "localhost") + "/ok", "http://[::ffff:127.0.0.1]:1/x", "http://169.254.169.254/x", "http://10.0.0.1/"):
            contains(add(url, "--block-private-urls").err, "public")
        equal(len(server.requests), before, "requests for private addresses")
        (context / "Dockerfile").write_text(f"FROM scratch\nADD {server.url}/good /f\n")
        w.build(context)


@test
def names_of_downloads_stay_in_the_destination_atk_123(w):
    canary = Canary(w)
    with Server({}) as server:
        body = (200, {"Content-Disposition": f'attachment; filename="../../..{canary.folder}/x"'}, b"data")
        server.routes = {path: body for path in ("/..%2f..%2fx", "/%00", "/", "/.", "/%2e%2e", "/a%0ab", "/a%5cb", "/plain", "/%2fetc%2fpasswd")}
        for path in server.routes:
            context = w.folder("context", {"Dockerfile": f"FROM scratch\nADD {server.url}{path} /d/\n"})
            result = w.build(context, "-o", w.path / "out.tar", ok=None, timeout=30)
            canary.check(result.err)
            if result.code == 0:
                names = [name for name in Built(w.path / "out.tar").rootfs() if "d" in name]
                equal(all(str(name).lstrip("/").startswith("d") for name in names), True, f"{path}: {names}")


@test
def unverified_bytes_become_visible_nowhere_atk_125(w):
    with Server({"/f": (200, {}, b"wrong bytes"), "/short": (200, {"Content-Length": "100"}, b"short")}) as server:
        for line in (f"ADD --checksum=sha256:{'0' * 64} {server.url}/f /f", f"ADD {server.url}/short /f"):
            def short(handler):
                handler.send_response_only(200)
                handler.send_header("Content-Length", "100")
                handler.end_headers()
                handler.wfile.write(b"wrong bytes")
                handler.close_connection = True
            server.routes["/short"] = short
            context = w.folder("context", {"Dockerfile": f"FROM scratch\n{line}\nLABEL x=y\n"})
            for _ in range(2):
                equal(w.build(context, ok=False, timeout=60).code in (5, 6), True, line)
            for path in pathlib.Path(w.store).rglob("*"):
                if path.is_file() and not path.is_symlink():
                    equal(b"wrong bytes" in path.read_bytes(), False, f"the bytes in {path}")


@test
def copies_stay_in_the_root_atk_126(w):
    canary = Canary(w)
    w.busybox()
    climb = "../" * 20
    lines = [f"COPY --from=busybox /bin/busybox {climb}{canary.folder}/x", f"COPY f {climb}x", f"RUN ln -s {canary.folder} /out && ln -s {climb}{str(canary.folder).lstrip('/')} /up\nCOPY f /out/a\nCOPY f /up/b\nADD f /out/",
             f"WORKDIR {climb}{canary.folder}\nCOPY f .", f"COPY --from=busybox {climb}{canary.file} /stolen", f"COPY {climb}{canary.file} /stolen", f"COPY --from=busybox /bin/../../..{canary.file} /stolen"]
    context = w.folder("context", {"f": "x", "..data": "x", "...": "y"})
    for line in lines:
        (context / "Dockerfile").write_text(f"FROM busybox\n{line}\nRUN cat {canary.file} || true\n")
        result = w.build(context, ok=None)
        canary.check(result.err, result.out)
    (context / "Dockerfile").write_text("FROM busybox\nCOPY . /proc/\nCOPY . /d/\nRUN ls /d\n")
    canary.check(w.build(context, ok=None).err)


@test
def names_of_stages_contexts_and_caches_are_no_paths_atk_127_atk_34(w):
    canary = Canary(w)
    w.busybox()
    before = sorted(os.listdir(w.path))
    for line in ("FROM busybox AS ../../x", "FROM busybox AS a/b", "FROM busybox AS -x", "FROM busybox AS ..", "FROM busybox AS a\x00b", f"FROM busybox\nCOPY --from={canary.folder} / /x", "FROM ../../x", "FROM /etc"):
        w.build(w.folder("context", {"Dockerfile": line + "\n"}), ok=False, timeout=20)
    for identity in ("../../../etc", "/", ".", "..", "a\tb", "x" * 4000, "é", "-rf", str(canary.folder)):
        context = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN --mount=type=cache,id={identity},target=/c echo x > /c/f; ls /c\n"})
        canary.check(w.build(context, ok=None).err)
    for source in ("../../..", "/proc/self/root", climb := "../" * 20 + str(canary.folder).lstrip("/")):
        for kind in ("cache,from=busybox,target=/c", "bind,from=busybox,target=/c", "bind,target=/c"):
            context = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN --mount=type={kind},source={source} ls /c; cat /c/{canary.file.name} /c{canary.file} || true\n"})
            canary.check(w.build(context, ok=None).err)
    equal(sorted(set(os.listdir(w.path)) - {"context"}), sorted(set(before) - {"context"}), "what lies beside the store")
    for name in ("../x", "a/../../b"):
        w.build(w.folder("context", {"Dockerfile": "FROM busybox\n"}), "--build-context", f"{name}={w.path / 'context'}", ok=None)
    canary.check()


@test
def bind_sources_are_resolved_in_their_stage_atk_33(w):
    need_root()
    canary = Canary(w)
    w.busybox()
    context = w.folder("context", {"Dockerfile": f"FROM busybox AS base\nRUN ln -s / /rootdir && ln -s {canary.folder} /out && ln -s ../../../../../../.. /up && echo stage > /marker\n"
                                   "FROM busybox\nRUN --mount=type=bind,from=base,source=/rootdir,target=/x,rw cat /x/marker > /out1 && echo changed > /x/marker && touch /x/bin/planted\n"
                                   "RUN --mount=type=bind,from=base,source=/up,target=/x cat /x/marker > /out2 && test ! -e /x/bin/planted\n"
                                   f"RUN --mount=type=bind,from=base,source=/rootdir,target=/x ls /x{canary.folder} || true\n"})
    result = w.build(context, "-o", w.path / "out.tar")
    image = Built(w.path / "out.tar")
    equal([image.read("/out1"), image.read("/out2")], [b"stage\n", b"stage\n"], "the marker of the stage")
    canary.check(result.err)
    (context / "Dockerfile").write_text("FROM busybox AS base\nRUN ln -s %s /out\nFROM busybox\nRUN --mount=type=bind,from=base,source=/out,target=/x touch /x/y\n" % canary.folder)
    canary.check(w.build(context, ok=False).err)


@test
def a_cache_source_swapped_in_a_race_shows_nothing_else_atk_31(w):
    need_root()
    canary = Canary(w)
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox AS one\nRUN --mount=type=cache,id=a,target=/c mkdir -p /c/x; for i in $(seq 2000); do mv /c/x /c/y && ln -s / /c/x && rm /c/x && mv /c/y /c/x; done; true\n"
                                   "FROM busybox AS two\n" + "".join(f"RUN --mount=type=cache,id=a,target=/c --mount=type=cache,id=b{i},target=/c/x/n{i} cat /c/x/{str(canary.file).lstrip('/')} /c/x/n{i}{canary.file}; true\n" for i in range(8)) +
                                   "FROM busybox\nCOPY --from=one /bin/busybox /1\nCOPY --from=two /bin/busybox /2\n"})
    result = w.build(context, "--jobs", "2", ok=None)
    canary.check(result.err)


@test
def mount_options_are_a_closed_list_atk_35(w):
    w.busybox()
    for option in ("bind-propagation=shared", "relabel=shared", "options=dev", "o=suid", "volume-opt=x", "Z", "consistency=cached", "ro=maybe", "size=-1", "mode=99999", "uid=-1"):
        context = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN --mount=type=bind,target=/x,{option} true\nRUN --mount=type=tmpfs,target=/x,{option} true\n"})
        equal(w.build(context, ok=False).code, 3, option)
    context = w.folder("context", {"Dockerfile": 'FROM busybox\nRUN --mount=type=tmpfs,"target=/x,dev,suid" mount | grep /x > /m; true\n'})
    result = w.build(context, ok=None)
    equal(result.code in (0, 3, 4), True, repr(result))


@test
def shared_memory_is_each_steps_own_atk_36(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN echo x > /dev/shm/left && ls -A /dev/shm > /first\nRUN ls -A /dev/shm /dev/mqueue > /second; cat /proc/sysvipc/shm | wc -l >> /second\n"})
    w.build(context, "-o", w.path / "out.tar")
    image = Built(w.path / "out.tar")
    equal(image.read("/first"), b"left\n", "shared memory of the first step")
    equal(b"left" in image.read("/second") or not image.read("/second").endswith(b"1\n"), False, "shared memory of the second")


@test
def equal_instructions_on_other_layers_are_other_steps_atk_41(w):
    w.busybox()
    same = "HEALTHCHECK CMD true\nONBUILD RUN false\nCOPY f /f\nRUN cat /who > /copy\n"
    for who in ("evil", "good"):
        base = w.folder(f"base-{who}", {"Dockerfile": "FROM busybox\nCOPY who /who\n", "who": who})
        w.build(base, "-t", f"local/{who}")
    context = w.folder("context", {"f": "x"})
    for who in ("evil", "good"):
        (context / "Dockerfile").write_text(f"FROM local/{who}\n{same}")
        w.build(context, "-o", w.path / "out.tar")
        equal(Built(w.path / "out.tar").read("/copy"), who.encode(), "what the step saw")


@test
def temporary_files_are_never_in_a_shared_folder_atk_44(w):
    canary = Canary(w)
    shared = w.path / "tmp"
    shared.mkdir()
    os.chmod(shared, 0o1777)
    for i in range(100):
        for name in (f"imgbuild-{i}", f"imgbuild{i}", "imgbuild", "stdin", "Dockerfile"):
            link = shared / name
            if not link.is_symlink():
                link.symlink_to(canary.folder / "x")
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "x"})
    w.build(context, "-o", w.path / "out.tar", env={"TMPDIR": str(shared)})
    w.run("build", "-", stdin=b"FROM scratch\nLABEL a=b\n", env={"TMPDIR": str(shared)})
    canary.check()
    equal(any(not path.is_symlink() for path in shared.iterdir()), False, "files left in the shared folder")
    w.build(context, env={"TMPDIR": "/nowhere"})


@test
def helpers_get_an_environment_from_scratch_atk_45(w):
    need_root()
    need("git")
    dump = w.path / "dump"
    fake = w.path / "ssh"
    fake.write_text(f"#!/bin/sh\ntr '\\0' '\\n' < /proc/self/environ > {dump}\nexit 1\n")
    os.chmod(fake, 0o755)
    w.prefix = ["unshare", "--mount", "sh", "-c", f'mount --bind {fake} {shutil.which("ssh") or "/usr/bin/ssh"} && exec "$@"', "sh"]
    need("ssh")
    context = w.folder("context", {"Dockerfile": "FROM scratch\nADD git@localhost:a/b.git /x\n"})
    w.build(context, "--secret", "id=s,env=SECRET_VALUE", env={"SECRET_VALUE": "s3cr3t-value", "LD_PRELOAD": "", "GIT_DIR": "/x", "AWS_TOKEN": "t0ken-value"}, ok=False, timeout=60)
    text = dump.read_text()
    names = {line.partition("=")[0] for line in text.splitlines()}
    allowed = {"PATH", "LC_ALL", "HOME", "PWD", "SHLVL", "_", "OLDPWD", "TERM"}
    equal(sorted(name for name in names if name not in allowed and not name.startswith("GIT_")), [], "variables of the helper")
    equal("s3cr3t" in text or "t0ken" in text or "GIT_DIR=/x" in text, False, "values of the builder")


@test
def variables_and_labels_cannot_break_out_atk_129_atk_30(w):
    w.busybox()
    body = 'ENV A="x\\"}],\\"y\\":[{" B="line\\\nbreak" PATH=/bin:/nowhere LD_AUDIT=/x.so GCONV_PATH=/x LD_PRELOAD=/trojan.so\nLABEL q="\\"" "a b"="{}" n="\\\\n"\nRUN ["/bin/busybox", "env"]\n'
    context = w.folder("context", {"Dockerfile": "FROM busybox\n" + body})
    result = w.build(context, "-o", w.path / "out.tar", ok=None)
    if result.code == 0:
        equal(Built(w.path / "out.tar").config["config"]["Labels"]["q"], '"', "a quoted label")
    base = Image([PLAIN], config={"Env": ["AWS_SECRET_ACCESS_KEY", "*", "=x", "A", "GOOD=1", "HOME"]}).layout(w.path / "env")
    context = w.folder("context", {"Dockerfile": "FROM base\nCOPY --from=busybox /bin/busybox /b\nRUN [\"/b\", \"env\"]\n"})
    result = w.build(context, "--build-context", f"base=oci-layout://{base}", env={"AWS_SECRET_ACCESS_KEY": "builders-own", "A": "builders-own"}, ok=None)
    equal("builders-own" in result.err, False, "a value of the builder's environment")


@test
def odd_commands_end_with_their_own_code_atk_130(w):
    w.busybox()
    for line, code in (('SHELL ["/proc/self/exe"]\nRUN true', 4), ('SHELL ["/missing"]\nRUN true', 4), ('RUN ["/missing"]', 4), ('RUN [""]', 4), ('RUN ["/etc"]', 4), ('RUN []', None),
                       ('SHELL []\nRUN true', 3), ("RUN true " + "x" * 300000, None), ("RUN [" + ", ".join(['"true"'] + [f'"{"y" * 1000}"'] * 3000) + "]", None)):
        context = w.folder("context", {"Dockerfile": f"FROM busybox\n{line}\n"})
        result = w.build(context, ok=False, timeout=60)
        equal(code is None or result.code == code, True, f"{line[:40]}: {result.code} {result.err[-300:]}")


@test
def text_from_outside_is_escaped_atk_132(w):
    evil = "\x1b]0;title\x07\x1b[2J\x1b]52;c;ZXZpbA==\x07"
    with Server({}) as server:
        server.routes["/v2/a/b/manifests/latest"] = (400, {"Content-Type": "application/json"}, json.dumps({"errors": [{"code": "X" + evil, "message": evil + "\nFAKE LINE"}]}).encode())
        server.routes["/f"] = (404, {}, evil.encode())
        for dockerfile in (f"FROM {server.host}/a/b\n", f"FROM scratch\nADD {server.url}/f /\n", f"FROM scratch\nCOPY {evil} /\n", f"FROM scratch AS {evil}\n", f"FROM {evil}\n", f"X{evil}\n"):
            for progress in ("plain", "json"):
                result = w.run("build", f"--progress={progress}", w.folder("context", {"Dockerfile": dockerfile}), ok=None, timeout=30)
                equal("\x1b" in result.err or "\x07" in result.err, False, f"an escape sequence from {dockerfile!r}")
    context = w.folder("names", {"Dockerfile": "FROM scratch\nCOPY missing /\n", f"a{evil.replace('/', '')}": "x"})
    equal("\x1b" in w.run("build", context, ok=False).err, False, "an escape sequence of a file name")


@test
def credentials_in_urls_are_kept_nowhere_atk_133(w):
    need("git")
    token = "t0psecret" + os.urandom(4).hex()
    with Server({"/f": (200, {}, b"data")}) as server:
        metadata = w.path / "metadata.json"
        lines = [f"ADD {server.url}/f?token={token}&X-Amz-Signature={token} /f", f"ADD http://user:{token}@{server.host}/repo.git /r", f"ADD http://user:{token}@{server.host}/f /f"]
        for line in lines:
            context = w.folder("context", {"Dockerfile": f"FROM scratch\n{line}\n"})
            result = w.build(context, "--metadata-file", metadata, ok=None, timeout=60)
            if result.code != 0:
                after = result.err.split("\n  --> ")[0].split("error:")[-1]
                equal(token in after, False, f"the token in the message: {after}")
            equal(metadata.exists() and token in metadata.read_text(), False, "the token in the metadata")


@test
def nonsense_on_the_command_line_is_an_error_atk_134(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\n"})
    for option in ("--jobs=-1", "--compression-level=-5", "--compression-level=99", "--source-date-epoch=x", "--platform=/", "--platform=linux/../x", "--shm-size=-1", "--ulimit=nofile=-2", "--output=type=x",
                   "--progress=x", "--call=x", "--network=-1", "--build-arg==x", "--label=x", "--tag=A:B:C", "--tag=-x", "--target=", "--add-host=x", "--secret=id=", "--ssh==x", "--jobs=99999999999999999999", "--threads=0", "--threads=257", "--threads=x", "--unknown"):
        result = w.run("build", option, context, ok=None, timeout=20)
        equal(result.code in (0, 1, 2, 3), True, f"{option}: {result!r}")
        equal("terminate called" in result.err or result.code < 0, False, f"{option} crashed")


@test
def odd_times_are_kept_or_clamped_atk_147(w):
    tar = Tar()
    for i, value in enumerate(("-1099511627776", "1099511627776", "0.999999999", "1.9999999999999", "-0.5", "15000000000", "1e9", "nan")):
        tar.pax({"mtime": value}).add(f"f{i}", b"x")
    for bad in ("1e9", "nan"):
        layout = Image([Tar().pax({"mtime": bad}).add("f").end()]).layout(w.path / f"time-{bad}")
        w.build(w.folder("context", {"Dockerfile": "FROM base\nCOPY --from=base / /c\n"}), "--build-context", f"base=oci-layout://{layout}", ok=None)
    files = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY f* /\n", "f0": "x", "f1": "y"})
    os.utime(files / "f0", (-(1 << 31), -(1 << 31)))
    os.utime(files / "f1", (15000000000, 15000000000))
    digests = set()
    for number in range(2):
        w.build(files, "--no-cache", "-o", w.path / f"{number}.tar")
        digests.add(Built(w.path / f"{number}.tar").manifest["layers"][0]["digest"])
    equal(len(digests), 1, "layer digests")
    for epoch in ("garbage", "-1", "1e9", "99999999999999999999", ""):
        result = w.build(files, env={"SOURCE_DATE_EPOCH": epoch}, ok=None)
        equal(result.code in (0, 2, 3), True, f"SOURCE_DATE_EPOCH={epoch}: {result!r}")


@test
def a_hostile_process_environment_changes_nothing_atk_148(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nCOPY f /f\nRUN stat -c %a /f > /mode && mkdir /d && stat -c %a /d >> /mode\n", "f": "x"})
    os.chmod(context / "f", 0o644)
    digests = set()
    for umask in ("0000", "0777", "0022"):
        archive = w.path / f"{umask}.tar"
        done = subprocess.run(["sh", "-c", f'umask {umask}; exec "$@"', "sh", str(w.program), "build", "--no-cache", "--source-date-epoch=1", "-o", str(archive), str(context)], capture_output=True, check=False,
                              env={**w.environment, "IMGBUILD_ROOT": str(w.store), "LANG": "xx_YY.garbage", "LC_ALL": "\x1b", "HOME": "/nowhere"})
        equal(done.returncode, 0, done.stderr.decode())
        os.chmod(archive, 0o600)
        digests.add(tuple(layer["digest"] for layer in Built(archive).manifest["layers"]))
    equal(len(digests), 1, "images by umask")
    closed = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", str(w.program), "build", str(context)], check=False, env={**w.environment, "IMGBUILD_ROOT": str(w.store)})
    equal(closed.returncode in (0, 1, 7), True, "closed descriptors")
    gone = w.path / "gone"
    gone.mkdir()
    here = subprocess.run(["sh", "-c", f'cd {gone} && rmdir {gone} && exec "$@"', "sh", str(w.program), "build", str(context)], capture_output=True, check=False, env={**w.environment, "IMGBUILD_ROOT": str(w.store)})
    equal(here.returncode in (0, 7), True, here.stderr.decode())


@test
def names_inside_an_archive_are_not_taken_unasked_atk_149(w):
    w.busybox()
    before = w.run("images").out
    evil = Image([PLAIN])
    layout = evil.layout(w.path / "evil")
    index = json.loads((layout / "index.json").read_text())
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "docker.io/library/busybox:latest", "io.containerd.image.name": "docker.io/library/busybox:latest"}
    (layout / "index.json").write_text(json.dumps(index))
    context = w.folder("context", {"Dockerfile": "FROM base\nCOPY --from=base /f /g\n"})
    w.build(context, "--build-context", f"base=oci-layout://{layout}", ok=None)
    equal(w.run("images").out, before, "names in the store after using a layout as a context")


@test
def unknown_members_of_documents_are_ignored_atk_150(w):
    canary = Canary(w)
    image = Image([PLAIN])
    image.config.update({"hooks": {"prestart": [{"path": "/bin/touch", "args": ["touch", str(canary.folder / "x")]}]}, "devices": ["vendor.com/device=all"], "mounts": [{"source": "/", "destination": "/host"}],
                         "annotations": {"cdi.k8s.io/x": "vendor.com/device=all"}})
    image.config["config"].update({"Devices": ["/dev/kmsg"], "Binds": [f"{canary.folder}:/c"], "Privileged": True, "HostConfig": {"Privileged": True}})
    image.manifest["config"] = image.put(json.dumps(image.config).encode(), OCI + "config.v1+json")
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM base\nCOPY --from=busybox /bin/busybox /b\nRUN [\"/b\", \"sh\", \"-c\", \"/b ls /host /c /dev/kmsg; /b grep CapEff /proc/self/status > /caps\"]\n"})
    result = w.build(context, "--build-context", f"base=oci-layout://{image.layout(w.path / 'layout')}", "-o", w.path / "out.tar", ok=None)
    canary.check(result.err)
    if result.code == 0:
        equal(Built(w.path / "out.tar").read("/caps").split()[1] != b"000001ffffffffff", True, "capabilities")


if __name__ == "__main__":
    run()
