"""Attack catalogue, archives and layers: hostile layers as bases and hostile archives in ADD, against a canary outside."""
import gzip
import io
import lzma
import os
import tarfile
import zipfile

from attack_support import Canary, Image, Tar, build_on, busybox_layer
from case_files import Image as Built
from harness import contains, equal, need_root, run, test

def refused(w, canary, tar, what):
    """The layer is refused when it is extracted and when it is only read, with the code for bad bytes."""
    layout = w.path / f"refused-{len(list(w.path.glob('refused-*')))}"
    Image([tar.end()]).layout(layout)
    for body in ('RUN ["/nothing"]', "COPY --from=base / /copy"):
        context = w.folder("refused-context", {"Dockerfile": f"FROM base\n{body}\n"})
        result = w.build(context, "--build-context", f"base=oci-layout://{layout}", ok=False, timeout=60)
        equal(result.code, 6, f"exit code of {what} with {body}: {result.err}")
        canary.check(result.err, result.out)


@test
def names_that_climb_are_refused_atk_50(w):
    canary = Canary(w)
    for name in ("../x", "a/../../x", "..", "./..//x", "a/..", f"../../../../../..{canary.folder}/x"):
        refused(w, canary, Tar().add(name, b"data"), name)
        refused(w, canary, Tar().pax({"path": name}).add("plain", b"data"), f"PAX {name}")
        refused(w, canary, Tar().long_name(b"L", name).add("plain", b"data", magic=b"ustar  \0"), f"GNU {name}")


@test
def absolute_names_are_inside_the_root_atk_51(w):
    canary = Canary(w)
    tar = Tar().add(f"{canary.folder}/x", b"data").add("//double//slash", b"data")
    result = build_on(w, [tar.end()], f"RUN cat {canary.folder}/x /double/slash > /out", "-o", w.path / "out.tar", ok=True)
    equal(Built(w.path / "out.tar").read("/out"), b"datadata", "files inside")
    canary.check(result.err)
    context = w.folder("add", {"Dockerfile": f"FROM scratch\nADD a.tar /in\n", "a.tar": Tar().add(f"{canary.folder}/x", b"data").end()})
    w.build(context, "-o", w.path / "added.tar", ok=None)
    canary.check()


@test
def the_root_is_replaced_by_nothing_atk_52(w):
    canary = Canary(w)
    for name in (".", "/", "./"):
        for kind, link in ((b"2", str(canary.folder)), (b"0", ""), (b"1", "bin"), (b"3", ""), (b"6", "")):
            refused(w, canary, Tar().add(name, kind=kind, link=link), f"{name} as {kind}")


@test
def links_lead_nowhere_out_atk_53(w):
    canary = Canary(w)
    climbing = "../" * 30 + str(canary.folder).lstrip("/")
    for target in (str(canary.folder), climbing, "/proc/self/root" + str(canary.folder), "/.." * 9 + str(canary.folder)):
        one = Tar().link("l", target).add("l/f", b"planted")
        for layers in ([one.end()], [Tar().link("l", target).end(), Tar().add("l/f", b"planted").end()],
                       [Tar().link("l", target).end(), Tar().dir("l").add("l/f", b"planted").end()]):
            result = build_on(w, layers, f"RUN cat /l/f || true\nCOPY Dockerfile /l/g\nWORKDIR /l/w\nRUN ls {canary.folder}/ {canary.file} || true", timeout=60)
            canary.check(result.err, result.out)
        context = w.folder("add", {"Dockerfile": "FROM scratch\nADD a.tar /\nADD a.tar /l/\nCOPY Dockerfile /l/h\n", "a.tar": one.end()})
        result = w.build(context, ok=None)
        canary.check(result.err)
    chain = Tar()
    for i in range(50):
        chain.link(f"c{i}", f"c{i + 1}")
    result = build_on(w, [chain.link("c50", str(canary.folder)).add("c0/f", b"planted").end()], "RUN true", timeout=60)
    canary.check(result.err)


@test
def hard_links_stay_in_their_layer_atk_54(w):
    canary = Canary(w)
    for target in (str(canary.file), "/etc/passwd", "../" * 20 + str(canary.file).lstrip("/"), "h", "later", "d"):
        tar = Tar().dir("d").hard("h", target).add("later", b"x")
        refused(w, canary, tar, target)
    through = Tar().link("l", str(w.path)).hard("h", f"l/{canary.file.name}")
    refused(w, canary, through, "through a link")


@test
def a_write_through_a_hard_link_changes_one_name_atk_55(w):
    tar = Tar().add("a", b"first").hard("b", "a").add("b", b"second")
    build_on(w, [tar.end()], "RUN cat /a /b > /out", "-o", w.path / "out.tar", ok=True)
    equal(Built(w.path / "out.tar").read("/out"), b"firstsecond", "contents")


@test
def the_last_of_many_types_wins_atk_56(w):
    canary = Canary(w)
    sequences = {"dir": Tar().link("x", str(canary.folder)).dir("x"), "file": Tar().dir("x").add("x/y", b"").link("x", "/").add("x", b"end"),
                 "link": Tar().add("x", b"").dir("x").link("x", "nowhere"), "mixed": Tar()}
    for i in range(1500):
        sequences["mixed"].add("x", b"a").link("x", "/etc") if i % 2 else sequences["mixed"].dir("x")
    for name, tar in sequences.items():
        result = build_on(w, [tar.end()], "RUN stat -c %F /x > /out", "-o", w.path / "out.tar", ok=True, timeout=120)
        kind = Built(w.path / "out.tar").read("/out").decode().strip()
        equal(kind, {"dir": "directory", "file": "regular file", "link": "symbolic link", "mixed": "symbolic link"}[name], name)
        canary.check(result.err)


@test
def whiteout_tricks_hide_nothing_else_atk_57(w):
    canary = Canary(w)
    for name in (".wh.", ".wh..", ".wh...", "d/.wh.", "a/.wh...", ".wh./x"):
        result = build_on(w, [Tar().add(name).end()], "RUN true", timeout=60)
        equal(result.code in (0, 6), True, f"{name!r}: {result!r}")
        canary.check(result.err)
    lower = Tar().dir("d").add("d/a", b"low").add("d/b", b"low").add("e", b"low")
    for upper in (Tar().add(".wh.e").add("e", b"high").dir("d").add("d/.wh..wh..opq").add("d/b", b"high"),
                  Tar().dir("d").add("d/b", b"high").add("d/.wh..wh..opq").add("e", b"high").add(".wh.e")):
        build_on(w, [lower.end(), upper.end()], "RUN find /d /e -type f | sort > /out; cat /d/b /e >> /out", "-o", w.path / "out.tar", ok=True)
        equal(Built(w.path / "out.tar").read("/out"), b"/d/b\n/e\nhighhigh", "what is left, whatever the order")
    for kind, link in ((b"2", "/"), (b"1", "bin/sh"), (b"5", "")):
        result = build_on(w, [Tar().dir("d").add("d/.wh..wh..opq", kind=kind, link=link).end()], "RUN true")
        equal(result.code in (0, 6), True, f"an opaque marker of type {kind}: {result!r}")


@test
def attributes_of_overlays_are_no_attributes_of_layers_atk_59(w):
    need_root()
    lower = Tar().dir("secret").add("secret/f", b"hidden").dir("d").add("d/low", b"low")
    for name, value in (("trusted.overlay.redirect", "/secret"), ("trusted.overlay.opaque", "y"), ("trusted.overlay.metacopy", ""),
                        ("user.overlay.redirect", "/secret"), ("user.overlay.opaque", "y"), ("trusted.overlay.whiteout", "y")):
        upper = Tar().pax({f"SCHILY.xattr.{name}": value}).dir("d").add("d/high", b"high")
        build_on(w, [lower.end(), upper.end()], "RUN ls /d > /out", "-o", w.path / "out.tar", ok=True)
        equal(Built(w.path / "out.tar").read("/out"), b"high\nlow\n", f"the folder with {name}")


@test
def other_attributes_are_bounded_or_dropped_atk_60(w):
    tars = {"selinux": Tar().pax({"SCHILY.xattr.security.selinux": "x"}).add("f"),
            "long": Tar().pax({"SCHILY.xattr.user.x": "v" * 70000}).add("f"),
            "many": Tar().pax({f"SCHILY.xattr.user.n{i}": "v" for i in range(40000)}).add("f"),
            "no name": Tar().pax({"SCHILY.xattr.": "v"}).add("f"),
            "no namespace": Tar().pax({"SCHILY.xattr.plain": "v"}).add("f"),
            "capability": Tar().pax({"SCHILY.xattr.security.capability": b"garbage"}).add("f"),
            "flags": Tar().pax({"SCHILY.fflags": "immutable,append"}).add("f")}
    for name, tar in tars.items():
        result = build_on(w, [tar.end()], "RUN rm -f /f && test ! -e /f", timeout=60)
        equal(result.code in (0, 6, 7), True, f"{name}: {result!r}")


@test
def flags_of_files_are_ignored_atk_76(w):
    tar = Tar().pax({"SCHILY.fflags": "schg,immutable,sappnd"}).add("f", b"x").pax({"SCHILY.fflags": "immutable"}).dir("d")
    build_on(w, [tar.end()], "RUN rm /f && rm -r /d", ok=True)


@test
def ids_and_sizes_out_of_range_are_refused_atk_62_atk_65(w):
    canary = Canary(w)
    negative = b"\xff" * 8
    for more in ({"uid": negative}, {"gid": negative}, {"uid": b"\x80\0\0\0\xff\xff\xff\xff"}, {"size": b"\xff" * 12},
                 {"size": b"77777777777"}, {"size": b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7}, {"size": b"12345678x"}, {"mtime": b"notoctal"}):
        refused(w, canary, Tar().add("f", **more), more)
    for kind in (b"5", b"2", b"3", b"6"):
        refused(w, canary, Tar().add("f", kind=kind, link="x", size=512).raw(b"x" * 512), f"data of type {kind}")
    for key in ("uid", "gid", "size"):
        for value in ("-1", "4294967295", "18446744073709551616", "1e3", ""):
            result = build_on(w, [Tar().pax({key: value}).add("f").end()], "RUN stat -c %u:%g /f > /o; test 0:0 = $(cat /o)", timeout=60)
            equal(result.code in (0, 6), True, f"PAX {key}={value}: {result!r}")


@test
def readers_cannot_be_made_to_disagree_atk_63(w):
    canary = Canary(w)
    inner = Tar().add("smuggled", b"inner").end()
    # The header says nothing, the PAX record says everything: what is inside is data, in every part of the program.
    tar = Tar().pax({"size": str(len(inner))}).add("outer", size=0).raw(inner)
    build_on(w, [tar.end()], "RUN test ! -e /smuggled && wc -c < /outer > /out", "-o", w.path / "out.tar", ok=True)
    equal(Built(w.path / "out.tar").read("/out").strip(), str(len(inner)).encode(), "size of the data")
    refused(w, canary, Tar().pax({"path": "a"}).pax({"path": "b"}).add("c", b"x"), "two PAX headers in a row")
    refused(w, canary, Tar().pax({"path": "a"}, kind=b"g").add("c", b"x"), "a global path")
    refused(w, canary, Tar().pax({"size": "10"}, kind=b"g").add("c", b"x"), "a global size")
    refused(w, canary, Tar().add("PaxHeaders/x", b"99 path=a\n", kind=b"x").add("c", b"x"), "a record of a wrong length")
    refused(w, canary, Tar().add("a", b"x").raw(b"\0" * 512).add("b", b"y"), "one zero block")
    refused(w, canary, Tar().pax({"path": "a"}).long_name(b"L", "b").add("c", b"x", magic=b"ustar  \0"), "two names")


@test
def sparse_maps_are_bounded_atk_64(w):
    canary = Canary(w)
    numbers = b"".join(b"%d\n1\n" % (i * 2) for i in range(70000))
    text = b"70000\n" + numbers
    text += b"\0" * (-len(text) % 512)
    base = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "f", "GNU.sparse.realsize": "200000"}
    refused(w, canary, Tar().pax(base).add("f", text + b"x" * 70000), "70000 segments")
    for realsize, entries in (("8", b"1\n4\n8\n"), ("100", b"2\n0\n10\n5\n10\n"), (str(1 << 63), b"1\n0\n1\n"), ("99999999999999999999", b"1\n0\n1\n"),
                              ("10", b"1\n9223372036854775807\n1\n"), ("10", b"99999999999999\n"), ("10", b"x\n")):
        head = entries + b"\0" * (-len(entries) % 512)
        refused(w, canary, Tar().pax({**base, "GNU.sparse.realsize": realsize}).add("f", head + b"d" * 20), f"{realsize} {entries}")
    huge = Tar().pax({**base, "GNU.sparse.realsize": str(1 << 62)}).add("f", b"0\n" + b"\0" * 510)
    refused(w, canary, huge, "a hole of 4 EiB")


@test
def bombs_end_in_bounded_time_atk_66(w):
    canary = Canary(w)
    deep = "d/" * 3000
    refused(w, canary, Tar().pax({"path": deep + "f"}).add("f"), "3000 folders deep")
    refused(w, canary, Tar().pax({"path": "n" * 256}).add("f"), "a name of 256 bytes")
    members = b"".join(gzip.compress(b"", 1) for _ in range(100000))
    plain = Tar().add("f", b"x").end()
    image = Image([busybox_layer(), plain])
    bomb = gzip.compress(plain, 1) + members
    image.manifest["layers"][1] = image.put(bomb, image.manifest["layers"][1]["mediaType"])
    layout = image.layout(w.path / "members")
    context = w.folder("context", {"Dockerfile": "FROM base\nRUN cat /f\n"})
    w.build(context, "--build-context", f"base=oci-layout://{layout}", timeout=120)
    zeros = Tar().add("zeros", b"\0" * (300 << 20))
    build_on(w, [zeros.end()], "RUN test $(stat -c %s /zeros) = 314572800", ok=True, timeout=300)
    canary.check()


@test
def a_layer_of_another_format_is_refused_atk_69(w):
    canary = Canary(w)
    plain = Tar().add("f", b"x").end()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("f", "x")
    for name, pack in (("xz", lzma.compress), ("zip", lambda _: archive.getvalue()), ("plain", lambda data: data), ("text", lambda _: b"#mtree\n./f type=file contents=/etc/passwd\n"),
                       ("nothing", lambda _: b""), ("twice", lambda data: gzip.compress(gzip.compress(data)))):
        layout = Image([plain], pack=pack).layout(w.path / f"format-{name}")
        context = w.folder("context", {"Dockerfile": "FROM base\nCOPY --from=base / /copy\n"})
        result = w.build(context, "--build-context", f"base=oci-layout://{layout}", ok=False, timeout=60)
        equal(result.code, 6, f"exit code of {name}: {result.err}")
        canary.check(result.err)


@test
def trailing_bytes_are_hashed_and_never_read_atk_68(w):
    second = Tar().add("second", b"x").end()
    build_on(w, [Tar().add("first", b"x").end() + second], "RUN test -e /first && test ! -e /second", ok=True)
    image = Image([busybox_layer(), Tar().add("first", b"x").end()])
    bad = image.blobs[image.manifest["layers"][1]["digest"]] + b"garbage"
    image.manifest["layers"][1] = image.put(bad, image.manifest["layers"][1]["mediaType"])
    context = w.folder("context", {"Dockerfile": "FROM base\nRUN true\n"})
    equal(w.build(context, "--build-context", f"base=oci-layout://{image.layout(w.path / 'bad')}", ok=False).code, 6, "exit code")


@test
def odd_names_make_the_round_trip_byte_by_byte_atk_70(w):
    need_root()
    names = [b"caf\xe9", b"new\nline", b"tab\tcr\r", b"\x1b[31mred", "\u202egnp.exe".encode(), "e\u0301".encode(), "\u00e9".encode(), b"-rf", b"$(id)", b"a b", b"\\x41", b"%s"]
    tar = Tar()
    for name in names:
        tar.add(b"odd/" + name, b"x")
    made = " ".join("\"/made/$(printf -- '" + "".join(f"\\{byte:03o}" for byte in name) + ".')\"" for name in names if not name.endswith(b"\n"))
    result = build_on(w, [tar.end()], f"RUN mkdir /made && touch {made} && ls /odd\nCOPY --from=base /odd /copied", "-o", f"type=tar,dest={w.path / 'root.tar'}", ok=True)
    with tarfile.open(w.path / "root.tar", encoding="utf-8", errors="surrogateescape") as root:
        found = {os.fsencode(name) for name in root.getnames()}
    for name in names:
        for path in (b"odd/" + name, b"copied/" + name, b"made/" + name + b"."):
            equal(path in found or b"./" + path in found, True, f"{path!r} in the image")
    equal("\x1b" in result.err, False, "an escape sequence in the messages")


@test
def what_a_layer_cannot_hold_is_named_atk_72(w):
    need_root()
    result = build_on(w, [], "RUN truncate -s 1T /huge && ls -l /huge", ok=False, timeout=60)
    contains(result.err, "huge")
    equal(os.statvfs(w.path).f_bavail > 1000, True, "space is left")
    # Ids at the upper end are attributes like others, or refused by name.
    result = build_on(w, [], "RUN touch /f && /bin/busybox chown 4294967290:4294967290 /f", timeout=60)
    equal(result.code == 0 or "f" in result.err, True, repr(result))


@test
def programs_and_libraries_of_the_image_are_not_used_by_the_builder_atk_75(w):
    canary = Canary(w)
    trojan = f"#!/bin/sh\n/bin/busybox touch {canary.folder}/ran\n".encode()
    tar = Tar()
    for name in ("unpigz", "pigz", "xz", "gzip", "bzip2", "zstd", "tar", "git", "ssh", "newuidmap", "fuse-overlayfs", "pasta"):
        tar.add(f"usr/bin/{name}", trojan, mode=0o755).add(f"usr/local/bin/{name}", trojan, mode=0o755)
    tar.add("etc/ld.so.preload", b"/trojan.so\n").add("trojan.so", b"\x7fELF garbage", mode=0o755)
    tar.add("etc/nsswitch.conf", b"passwd: trojan\n").add("lib/libnss_trojan.so.2", b"\x7fELF garbage", mode=0o755)
    tar.add("usr/lib/gconv/gconv-modules", b"module X// Y// /trojan 1\n").add("etc/passwd", b"app:x:7:7::/:/bin/sh\n")
    layout = Image([busybox_layer(), tar.end()]).layout(w.path / "trojan")
    files = {"a.tar.xz": lzma.compress(Tar().add("f", b"x").end()), "a.tar.gz": gzip.compress(Tar().add("g", b"x").end()),
             "Dockerfile": "FROM base\nADD a.tar.xz /\nADD a.tar.gz /\nCOPY --chown=app Dockerfile /\nUSER app\nRUN [\"/bin/busybox\", \"true\"]\n"}
    result = w.build(w.folder("context", files), "--build-context", f"base=oci-layout://{layout}", "-o", w.path / "out.tar")
    canary.check(result.err)
    equal(Built(w.path / "out.tar").read("/f"), b"x", "the archive's file")


if __name__ == "__main__":
    run()
