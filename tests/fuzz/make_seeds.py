#!/usr/bin/env python3
"""Writes the inputs of testdata/cases as fuzzing seeds: make_seeds.py FOLDER"""
import base64
import gzip
import io
import json
import pathlib
import sys
import tarfile


def load(name):
    cases = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "cases"
    return json.loads((cases / (name + ".json")).read_text(encoding="utf-8"))


def write(folder, seeds):
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds:
        (folder / name).write_bytes(seed.encode("utf-8", "surrogateescape"))


def word_seeds():
    for case in load("word-expansion")["cases"]:
        mode = {"word": 0, "words": 2, "heredoc": 4}[case["mode"]]
        value = next(iter(case["env"].values()), "")
        yield case["id"], chr(0x40 + mode + (case.get("escape") == "`")) + case["word"] + "\0" + value
    for name, key in (("chmod", "chmod"), ("gitref", "ref")):
        for case in load(name)["cases"]:
            yield case["id"], "@" + case[key]


def ignore_seeds():
    for case in load("dockerignore")["cases"]:
        paths = [entry["path"] for entry in case.get("paths", [])] or ["a"]
        for number, path in enumerate(paths):
            yield f"{case['id']}-{number}", case["ignorefile"] + "\0" + path


DIGEST = "sha256:" + "ab" * 32
DESCRIPTOR = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": DIGEST, "size": 7, "annotations": {"a": "b"}}
DOCUMENTS = {
    0: {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {**DESCRIPTOR, "mediaType": "application/vnd.oci.image.config.v1+json"}, "layers": [DESCRIPTOR]},
    1: {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {**DESCRIPTOR, "mediaType": "application/vnd.docker.container.image.v1+json"}, "layers": [{**DESCRIPTOR, "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"}]},
    2: {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{**DESCRIPTOR, "mediaType": "application/vnd.oci.image.manifest.v1+json", "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}]},
    3: {"architecture": "amd64", "os": "linux", "created": "2020-01-02T03:04:05.6Z", "config": {"Env": ["A=b"], "Cmd": ["x"], "Labels": {"l": "m"}, "ExposedPorts": {"80/tcp": {}},
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1000000000}}, "rootfs": {"type": "layers", "diff_ids": [DIGEST]}, "history": [{"created_by": "RUN x", "empty_layer": True}]},
    4: {"schemaVersion": 2, "manifests": [{**DESCRIPTOR, "mediaType": "application/vnd.oci.image.manifest.v1+json", "annotations": {"org.opencontainers.image.ref.name": "docker.io/library/a:b"}}]},
    7: [{"Config": "a.json", "RepoTags": ["a:b"], "Layers": ["b/layer.tar"]}],
}
NAMES = {0: ["alpine", "docker.io/library/alpine:3.20", "localhost:5000/a/b@" + DIGEST, "[::1]:5000/x"], 1: ["https://user@host:1/a/../b?c=d#e", "http://[::1]/", "https://h/%2e%2e/x"],
         2: ['Bearer realm="https://a/t",service="s",scope="repository:a/b:pull", Basic realm="x"', "Negotiate, Bearer realm=a"], 3: ["https://github.com/a/b.git#main:sub", "git@host:a/b.git?ref=x&subdir=y"],
         4: ["http://h/a%20b.tar.gz?x"], 5: ["linux/arm/v7", "::ffff:10.0.0.1", "Sun, 06 Nov 1994 08:49:37 GMT"],
         6: ["Iface\tDestination\tGateway\neth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"], 7: ["nameserver 127.0.0.53\nsearch a b\noptions x\n"]}
KEY = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n"
STREAMS = {0: [gzip.compress(b"hello" * 100, mtime=0)], 1: [bytes.fromhex("28b52ffd0458290000") + b"hello" + bytes(4)], 2: [b"11 path=ab\n30 mtime=1234567890.123456789\n", b"26 GNU.sparse.map=0,1,5,2\n"], 3: [b"13 comment=x\n"],
           4: [b"root:x:0:0:root:/root:/bin/sh\nadm:x:4:a,b\n"], 5: [KEY.encode()], 6: [b"\x0b", b"\x0d\0\0\0\1a\0\0\0\1b\0\0\0\0"], 7: [b"a s3cr3t-value b", base64.b64encode(b"s3cr3t-value")]}


def layer_seeds():
    """A small layer of every kind of entry, for the extractor."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, link in (("d", tarfile.DIRTYPE, ""), ("d/f", tarfile.REGTYPE, ""), ("d/h", tarfile.LNKTYPE, "d/f"), ("l", tarfile.SYMTYPE, "../../x"), ("l/through", tarfile.REGTYPE, ""),
                                 ("d/.wh.gone", tarfile.REGTYPE, ""), ("d/.wh..wh..opq", tarfile.REGTYPE, ""), ("p", tarfile.FIFOTYPE, ""), ("c", tarfile.CHRTYPE, "")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.pax_headers = {"SCHILY.xattr.user.a": "b"} if name == "d" else {}
            tar.addfile(info)
    return [("layer", b"\0" + raw.getvalue())]


def write_bytes(folder, seeds):
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds:
        (folder / name).write_bytes(seed)


def main():
    target = pathlib.Path(sys.argv[1])
    write(target / "dockerfile", ((case["id"], case["dockerfile"]) for case in load("parser")["cases"]))
    write(target / "words", word_seeds())
    write(target / "ignore_file", ignore_seeds())
    write_bytes(target / "documents", ((str(kind), bytes([kind]) + json.dumps(document).encode()) for kind, document in DOCUMENTS.items()))
    write_bytes(target / "names", ((f"{kind}-{i}", bytes([kind]) + text.encode()) for kind, texts in NAMES.items() for i, text in enumerate(texts)))
    write_bytes(target / "streams", ((f"{kind}-{i}", bytes([kind]) + data) for kind, all_data in STREAMS.items() for i, data in enumerate(all_data)))
    write_bytes(target / "apply", layer_seeds())
    write_bytes(target / "tar", layer_seeds())


main()
