"""The store: what takes how much, what is removed and what is not, what is damaged, and full disks."""
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import threading
import time

from harness import PROGRAM, command, contains, equal, need, need_root, run, skip, test

FILES = {"Dockerfile": "FROM scratch\nCOPY a /a/\nCOPY b /b/\n", "a": "a" * 5000, "b": "b" * 7000}


def du(w):
    return json.loads(w.run("du", "--format=json").out)


def du_of_system(path):
    return int(command("du", "-s", "-B1", path).stdout.split()[0])


def check_sum(w):
    told = du(w)
    equal(told["size"], du_of_system(w.store), "bytes of the store")
    equal(sum(item["size"] for item in told["items"]), told["size"], "sum of the items")
    equal(sum(kind["size"] for kind in told["types"]), told["size"], "sum of the types")
    return told


def fsck(w, *arguments, ok=True):
    return json.loads(w.run("fsck", "--format=json", *arguments, ok=ok).out)


def sound(w, *arguments):
    equal(fsck(w, *arguments)["problems"], [], "problems")


def blobs(w):
    return {p.name for p in (w.store / "blobs/sha256").iterdir()}


def layers_of(w, name):
    return {layer["digest"][7:] for layer in json.loads(w.run("inspect", "--manifest", name).out)["layers"]}


def overwrite(path, change):
    mode = path.stat().st_mode
    os.chmod(path, 0o644)
    data = bytearray(path.read_bytes())
    path.write_bytes(change(data))
    os.chmod(path, mode & 0o777)


def flip(data):
    data[len(data) // 2] ^= 1
    return bytes(data)


def in_tmpfs(w, options, script, ok=True):
    """Runs a shell script with the store on a file system of its own, in a private mount namespace."""
    need_root()
    need("unshare")
    w.store.mkdir(exist_ok=True)
    lines = ["set -u", f"mount -t tmpfs -o mode=700,{options} tmpfs {w.store}", f"alias imgbuild={shlex.quote(str(PROGRAM))}",
             f"export IMGBUILD_ROOT={w.store}", script]
    return command("unshare", "--mount", "--propagation", "private", "bash", "-O", "expand_aliases", "-c", "\n".join(lines),
                   ok=ok, cwd=w.path)


@test
def du_adds_up_to_what_the_system_says_and_names_every_byte(w):
    context = w.folder("context", FILES)
    equal(check_sum(w)["reclaimable"], 0, "reclaimable in an empty store")
    w.build(context, "-t", "app")
    told = check_sum(w)
    owners = {item["neededBy"] for item in told["items"]}
    equal(owners <= {"image", "store", "cache"}, True, f"owners {owners}")
    (context / "a").write_text("other")
    w.build(context)
    equal(check_sum(w)["reclaimable"] > 0, True, "the image without a name can be reclaimed")
    (w.store / "stray").write_text("x" * 10000)
    stray = [item for item in check_sum(w)["items"] if item["path"] == "stray"]
    equal([(item["type"], item["neededBy"]) for item in stray], [("leftover", "nothing")], "a stray file")
    contains(w.run("du", "-v").out, "stray")


@test
def prune_removes_what_no_name_needs_and_keeps_the_rest(w):
    context = w.folder("context", FILES)
    first = w.build(context, "-t", "app:1")
    (context / "a").write_text("other")
    w.build(context)
    before = blobs(w)
    size = du(w)["size"]
    dry = w.run("prune", "--dry-run")
    contains(dry.out, "Would reclaim")
    equal(blobs(w), before, "blobs after a dry run")
    contains(w.run("prune", "--verbose").out, "layer")
    equal(layers_of(w, "app:1") <= blobs(w), True, "layers of the image are there")
    equal(len(blobs(w)), 4, "manifest, config and two layers")
    equal(check_sum(w)["size"] < size, True, "the store shrank")
    sound(w)
    (context / "a").write_text(FILES["a"])
    again = w.build(context, "-t", "app:1")
    equal((again.ran, again.out), ([], first.out), "what the named image is made of stayed cached")


@test
def names_are_removed_and_their_layers_go_with_the_next_prune(w):
    context = w.folder("context", FILES)
    w.build(context, "-t", "app:1", "-t", "app:2")
    contains(w.run("rmi", "ap:1", ok=False).err, "did you mean app:1?")
    w.run("rmi", "app:1")
    w.run("prune")
    equal(layers_of(w, "app:2") <= blobs(w), True, "layers another name needs")
    w.run("rmi", "app:2")
    w.run("rmi", "-f", "app:2")
    equal(w.run("images").out.count("app"), 0, "names")
    w.run("prune")
    equal(blobs(w), set(), "blobs")
    sound(w)
    equal(len(w.build(context, "-t", "app:1").ran), 2, "steps run after all was removed")


@test
def prune_by_age_size_and_type_takes_what_was_used_longest_ago_first(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": ""})
    for name in "abc":
        (context / "f").write_bytes(os.urandom(200_000))
        shutil.copy(context / "f", w.path / name)
        w.build(context)
    shutil.copy(w.path / "a", context / "f")
    equal(w.build(context).ran, [], "steps run: a is used again")
    w.run("prune", "--filter", "until=24h")
    equal(len([i for i in du(w)["items"] if i["type"] == "record"]), 3, "records younger than a day")
    w.run("prune", "--filter", "type=cache-mount")
    equal(len([i for i in du(w)["items"] if i["type"] == "record"]), 3, "records after pruning another type")
    w.run("prune", "--keep-storage", str(du(w)["size"] - 300_000))
    shutil.copy(w.path / "a", context / "f")
    equal(w.build(context).ran, [], "a was used last and stayed")
    shutil.copy(w.path / "b", context / "f")
    equal(len(w.build(context).ran), 1, "b was used longest ago and went")
    contains(w.run("prune", "--filter", "until=soon", ok=False).err, "24h")
    contains(w.run("prune", "--filter", "colour=red", ok=False).err, "until")
    equal(w.run("prune", "--keep-storage", "some", ok=False).code, 2, "exit code")
    w.run("prune", "--all", "--max-used-space=0")
    equal([i["path"] for i in du(w)["items"] if i["type"] in ("layer", "record", "document")], [], "left after all")


@test
def flt_14_prune_in_a_loop_while_builds_run(w):
    contexts = []
    for number in range(4):
        contexts.append(w.folder(f"c{number}", {**FILES, "b": f"{number}" * 9000, "Dockerfile":
                                                f"FROM scratch AS one\nCOPY a /a/\nFROM scratch\nCOPY a /a/\nCOPY b /x/\nCOPY --from=one /a /y/{number}\n"}))
    failures, stop = [], threading.Event()

    def pruning():
        while not stop.is_set():
            done = w.run("prune", "--all", "--force", ok=None)
            if done.code != 0:
                failures.append(done)

    def building(number):
        for turn in range(6):
            archive = w.path / f"out{number}.tar"
            done = w.run("build", "-q", "-t", f"app:{number}", "-o", f"type=oci,dest={archive}", contexts[number], ok=None)
            if done.code != 0:
                failures.append(done)
            if turn % 2 == 1:
                w.run("rmi", "-f", f"app:{number}")

    pruner = threading.Thread(target=pruning)
    pruner.start()
    builders = [threading.Thread(target=building, args=(number,)) for number in range(4)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    stop.set()
    pruner.join()
    equal(failures, [], "failures")
    w.run("prune", "--all")
    sound(w)
    check_sum(w)


@test
def flt_15_atk_141_a_damaged_blob_is_made_anew_with_a_warning_and_never_exported(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY a /a/\nFROM scratch\nCOPY --from=0 /a /b/\n", "a": "a" * 5000})
    options = ("--source-date-epoch=1", "-t", "app", "-o", "type=oci,dest=out.tar")
    w.build(context, *options)
    clean = (w.path / "out.tar").read_bytes()
    damages = {"flipped": flip, "cut": lambda data: bytes(data[:-3]), "emptied": lambda data: b"",
               "zeroed": lambda data: bytes(len(data))}
    for what, damage in damages.items():
        for name in sorted(blobs(w)):
            overwrite(w.store / "blobs/sha256" / name, damage)
            result = w.build(context, *options)
            equal((w.path / "out.tar").read_bytes() == clean, True, f"the archive after {name} was {what}")
            equal(any("damaged" in e["text"] for e in result.warnings), True, f"a warning after {name} was {what}")
    equal(len(list((w.store / "corrupt").iterdir())) > 0, True, "what was damaged is kept aside")
    sound(w)


@test
def flt_15_a_damaged_layer_is_found_when_run_needs_it(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nCOPY f /f\nRUN cat /f > /g\n", "f": "content"})
    w.build(context, "-t", "app")
    layer = json.loads(w.run("inspect", "--manifest", "app").out)["layers"][-2]["digest"][7:]
    path = w.store / "blobs/sha256" / layer
    times = path.stat()
    overwrite(path, flip)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))   # as bits that rot: no time tells
    shutil.rmtree(w.store / "layers")
    (context / "Dockerfile").write_text("FROM busybox\nCOPY f /f\nRUN cat /f > /h\n")
    w.build(context, "-t", "app")
    equal(fsck(w, ok=None)["problems"], [], "problems after the build")


@test
def fsck_finds_every_kind_of_damage_and_repairs_it(w):
    context = w.folder("context", FILES)
    w.build(context, "-t", "app")
    sound(w)
    (context / "a").write_text("other")
    w.build(context)

    def damage(folder, pick=-1):
        files = sorted(p for p in (w.store / folder).rglob("*") if p.is_file() and len(p.name) == 64 and "slots" not in p.parts)
        overwrite(files[pick], flip)
        return str(files[pick].relative_to(w.store))

    damaged = {damage("blobs/sha256"), damage("indexes"), damage("cache")}
    tag = next((w.store / "tags").iterdir())
    tag.write_text("{")
    damaged.add(str(tag.relative_to(w.store)))
    result = w.run("fsck", ok=False)
    equal(result.code, 6, "exit code")
    found = {p["path"] for p in fsck(w, ok=None)["problems"]}
    equal(damaged - found, set(), "damage that was not found")
    fsck(w, "--repair", ok=None)
    sound(w)
    equal((w.store / "corrupt" / tag.name).read_text(), "{", "the damaged name is kept aside (FLT-16)")
    w.build(context, "-t", "app")
    sound(w)


@test
def flt_17_fsck_deep_finds_a_file_missing_from_an_extracted_layer(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN echo one > /one && echo two > /two\nRUN cat /one\n"})
    w.build(context, "-t", "app")
    sound(w, "--deep")
    victim = next(p for p in (w.store / "layers").rglob("one") if p.is_file())
    victim.unlink()
    sound(w)
    contains(json.dumps(fsck(w, "--deep", ok=False)["problems"]), "one")
    fsck(w, "--deep", "--repair")
    sound(w, "--deep")
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo one > /one && echo two > /two\nRUN cat /one /two\n")
    w.build(context, "-t", "app")


@test
def flt_16_garbled_records_names_and_memos_count_as_missing(w):
    context = w.folder("context", FILES)
    first = w.build(context, "-t", "app", "--source-date-epoch=1")
    for damage in (lambda data: b"", lambda data: os.urandom(len(data)), lambda data: bytes(data[:len(data) // 2])):
        for path in [*(w.store / "cache").rglob("*"), *(w.store / "tags").iterdir(), *(w.store / "indexes").iterdir(),
                     w.store / "stat-memo", w.store / "uses"]:
            if path.is_file():
                overwrite(path, damage)
        equal(w.build(context, "-t", "app", "--source-date-epoch=1").out, first.out, "digest")
        w.run("prune")
        check_sum(w)
    sound(w)


@test
def flt_18_a_store_of_the_future_is_refused_by_every_command_and_not_touched(w):
    context = w.folder("context", FILES)
    w.build(context, "-t", "app")
    (w.store / "format").write_text("imgbuild-store 99\nlayout new\n")
    before = command("find", w.store, "-printf", "%P %T@ %s\n").stdout
    for words in (["build", context], ["images"], ["du"], ["prune", "--all"], ["fsck", "--repair"], ["rmi", "app"]):
        result = w.run(*words, ok=False)
        equal(result.code, 8, f"exit code of {words[0]}")
        contains(result.err, "imgbuild-store 99")
    equal(command("find", w.store, "-printf", "%P %T@ %s\n").stdout, before, "the store")


@test
def sto_8_after_another_boot_everything_is_checked_once_and_stays_cached(w):
    context = w.folder("context", FILES)
    first = w.build(context, "-t", "app")
    text = (w.store / "format").read_text().splitlines()
    (w.store / "format").write_text(f"{text[0]}\nboot 00000000-0000-0000-0000-000000000000\n{text[2]}\n")
    # A power loss left one blob with its size but without its bytes.
    lost = max((w.store / "blobs/sha256").iterdir(), key=lambda p: p.stat().st_size)
    times = lost.stat()
    overwrite(lost, lambda data: bytes(len(data)))
    os.utime(lost, ns=(times.st_atime_ns, times.st_mtime_ns))
    result = w.build(context, "-t", "app")
    contains(json.dumps(result.warnings), lost.name)
    equal(w.build(context, "-t", "app").warnings, [], "warnings of the next build")
    contains((w.store / "format").read_text(), "epoch 2")
    sound(w)


@test
def sto_10_a_read_only_store_serves_what_it_has_and_refuses_the_rest_with_one_message(w):
    context = w.folder("context", FILES)
    changed = w.folder("changed", {**FILES, "a": "changed"})
    done = in_tmpfs(w, "size=32m", f"""
        imgbuild -q -t app {context} > one || exit 1
        mount -o remount,ro {w.store} || exit 2
        imgbuild -q -t app {context} > two || exit 3
        cmp one two || exit 4
        imgbuild images || exit 5
        imgbuild du || exit 6
        imgbuild prune --all && exit 7
        imgbuild -q {changed} 2> err && exit 8
        grep -q 'read-only' err || {{ cat err >&2; exit 9; }}
        test $(grep -c ^error err) = 1
    """)
    equal(done.returncode, 0, "exit code")


FULL = """
    imgbuild -q -t small {small} || exit 1
    imgbuild -q -t big {big} 2> err
    code=$?
    test $code = 7 || {{ echo "exit $code" >&2; cat err >&2; exit 2; }}
    grep -q 'store is full' err || {{ cat err >&2; exit 3; }}
    imgbuild fsck >&2 || exit 4
    test "$(ls {store}/ingest {store}/steps {store}/work 2>/dev/null | grep -vc ':\\|^$')" = 0 || {{ ls -R {store} >&2; exit 5; }}
    imgbuild prune --all --force || exit 6
    imgbuild -q -t small {small} || exit 7
    imgbuild -q -t other {other} || exit 8
    imgbuild fsck >&2 || exit 9
"""


@test
def flt_5_a_full_disk_fails_the_build_clearly_and_leaves_the_store_usable(w):
    paths = {"small": w.folder("small", FILES), "other": w.folder("other", {**FILES, "b": "c"}), "store": w.store,
             "big": w.folder("big", {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": os.urandom(40 << 20)})}
    in_tmpfs(w, "size=32m", FULL.format(**paths))


@test
def flt_6_a_file_system_without_inodes_fails_the_build_clearly(w):
    many = {f"f{number}": str(number) for number in range(400)}
    paths = {"small": w.folder("small", FILES), "other": w.folder("other", {**FILES, "b": "c"}), "store": w.store,
             "big": w.folder("big", {"Dockerfile": "FROM scratch\n" + "".join(f"COPY {name} /\n" for name in many), **many})}
    in_tmpfs(w, "size=64m,nr_inodes=400", FULL.format(**paths))


@test
def atk_144_a_store_limit_is_kept_while_building_and_running_builds_lose_nothing(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY f /\nCOPY g /\n", "f": "", "g": "same"})
    for _ in range(6):
        (context / "f").write_bytes(os.urandom(1 << 20))
        w.build(context, "--store-limit=4m")
        equal(du_of_system(w.store) <= 4 << 20, True, f"the store takes {du_of_system(w.store)}")
    equal(w.build(context, "--store-limit=4m").ran, [], "steps of the build that was used last")
    (context / "f").write_bytes(os.urandom(6 << 20))
    result = w.build(context, "-t", "big", "--store-limit=4m")
    contains(json.dumps(result.warnings), "above its limit")
    equal(layers_of(w, "big") <= blobs(w), True, "layers of the image")
    sound(w)
    config = w.path / "config.json"
    config.write_text('{"store-limit": "1m", "min-fre": 1}')
    contains(w.run("build", context, env={"IMGBUILD_CONFIG": str(config)}, ok=False).err, "did you mean min-free?")
    config.write_text('{"store-limit": "1m", "min-free": "1k", "durability": "safe"}')
    contains(json.dumps(w.build(context, "--no-cache", env={"IMGBUILD_CONFIG": str(config)}).warnings), "above its limit")


@test
def sto_33_names_are_given_and_things_are_removed_on_a_disk_without_a_free_byte(w):
    paths = {"small": w.folder("small", FILES), "store": w.store}
    config = w.path / "config.json"
    config.write_text('{"min-free": "1k"}')
    in_tmpfs(w, "size=8m", """
        export IMGBUILD_CONFIG={config}
        imgbuild build -t first {small} || exit 2
        test "$(stat -c %b {store}/reserve)" = 2048 || {{ ls -ls {store} >&2; exit 3; }}
        dd if=/dev/zero of={store}/filler bs=4k 2>/dev/null
        imgbuild build -t second {small} || exit 4
        test ! -e {store}/reserve || exit 5
        dd if=/dev/zero of={store}/more bs=4k 2>/dev/null
        imgbuild rmi first second || exit 6
        imgbuild prune --all --force || exit 7
        test ! -e {store}/filler || exit 8
        imgbuild build -t third {small} || exit 9
        test -e {store}/reserve || exit 10
        """.format(config=config, **paths))


@test
def lists_of_pieces_go_with_their_layer_or_when_asked_for(w):
    words = " ".join(f"{n * 7919 % 10007}" for n in range(400_000))
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": words})
    lists = w.store / "pieces"

    def sizes():
        return {item["path"]: item["size"] for item in du(w)["items"] if item["type"] == "pieces"}

    w.build(context, "-t", "named")
    kept = sizes()
    equal(len(kept), 1, f"lists of the first layer: {kept}")
    (context / "f").write_text(words + " more")
    w.build(context)
    equal(len(sizes()), 2, "lists of two layers")
    check_sum(w)
    equal(len([item for item in json.loads(w.run("du", "--format=json").out)["items"] if item["type"] == "bookkeeping"
               and item["path"] == "pieces"]), 1, "the folder itself")
    w.run("prune", "--force", "--filter", "type=pieces")
    equal(sizes(), kept, "what a named image is made of stays")
    equal(w.build(context).ran, [], "steps without a list")
    w.run("prune", "--force", "--all", "--filter", "type=pieces")
    equal(sizes(), {}, "lists after --all")
    # A layer that goes takes its list along.
    w.store = w.path / "another"
    w.build(context)
    (w.store / "pieces" / ("0" * 64)).write_bytes(b"of a layer that is gone")
    equal(len(list((w.store / "pieces").iterdir())), 2, "lists")
    w.run("prune", "--force")
    equal(list((w.store / "pieces").iterdir()), [], "lists after the layer is gone")
    # While building they go before anything that would have to be made again by running it.
    w.store = w.path / "limited"
    w.build(context)
    before = list((w.store / "pieces").iterdir())
    (context / "Dockerfile").write_text("FROM scratch\nCOPY f /\nCOPY g /\n")
    (context / "g").write_text("g")
    w.build(context, f"--store-limit={du_of_system(w.store)}")
    equal([path.exists() for path in before], [False], "the list after a build that passed the limit")
    equal(w.build(context).ran, [], "steps")


@test
def atk_143_names_an_image_gives_to_its_files_mean_nothing_to_the_store(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN mkdir -p /fs /trash /locks /layers && echo x > /meta && "
                                                 "echo x > /format && echo x > /owner && ln -s / /fs/up\n"})
    first = w.build(context, "-t", "app")
    w.run("prune")
    sound(w, "--deep")
    equal(w.build(context, "-t", "app").out, first.out, "digest")
    w.run("rmi", "app")
    w.run("prune", "--all")
    sound(w)


@test
def durability_safe_syncs_and_says_what_it_cost_and_fast_does_not(w):
    context = w.folder("context", FILES)
    contains(w.run("build", "--stats", context).err, "sync: 0 calls")
    told = w.run("build", "--stats", "--no-cache", "--durability=safe", "-t", "app", "-o", "out.tar", context).err
    calls = int(told.split("sync: ")[1].split()[0])
    equal(calls >= 6, True, f"sync calls: {calls}")
    equal(w.run("build", "--durability=sometimes", context, ok=False).code, 2, "exit code")


@test
def a_running_build_keeps_what_it_uses(w):
    need_root()
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nCOPY f /f\nRUN --mount=type=cache,target=/c sleep 4; cat /f; echo x > /c/x\n"
                                                 "RUN cat /f\n", "f": "f"})
    failures = []

    def building():
        done = w.run("build", context, ok=None)
        if done.code != 0:
            failures.append(done)

    builder = threading.Thread(target=building)
    builder.start()
    time.sleep(2)
    w.run("prune", "--all", "--force")
    busy = [item for item in du(w)["items"] if item["neededBy"] == "in use"]
    equal({"layer", "extracted", "cache-mount"} <= {item["type"] for item in busy}, True, f"what is in use: {busy}")
    builder.join()
    equal(failures, [], "failures")
    sound(w, "--deep")
    check_sum(w)


if __name__ == "__main__":
    run()
