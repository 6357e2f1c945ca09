"""Why a step was not taken from the cache, why a file is part of the build, and where two images differ."""
import hashlib
import json
import os
import pathlib
import random
import re

from cache_truth_mutations import MUTATIONS
from cache_truth_project import EPOCH, Project
from harness import REPOSITORY, contains, equal, run, test

GOLDEN = REPOSITORY / "testdata" / "explain" / "lines.txt"


class Bench:
    """The project of the cache's property test in a store of its own."""

    def __init__(self, w):
        self.w, self.clock, self.owner = w, 1_750_000_000, 0
        w.busybox()
        self.move_tag(None, 0)

    def move_tag(self, _random, number=1):
        top = self.w.folder(f"base-{number}", {"Dockerfile": f"FROM busybox\nRUN mkdir -m 1777 /out\nENV BASE={number}\n"})
        self.w.build(top, "-t", "base", "--source-date-epoch", EPOCH)

    def evict_records(self):
        for record in (self.w.store / "cache").glob("??/*"):
            record.unlink()

    def evict_layer(self, _random):
        """The layer of the last command of the project."""
        manifest = json.loads((self.w.store / "blobs" / self.last.replace(":", "/")).read_text())
        (self.w.store / "blobs" / manifest["layers"][-1]["digest"].replace(":", "/")).unlink()

    def reasons(self, p):
        """One line for each step that ran for a reason of its own."""
        top = self.w.path / "context"
        p.write(top, self.clock, os.geteuid() and os.getuid())
        secret = self.w.path / "secret"
        secret.write_text(p.secret)
        result = self.w.build(top, *p.arguments(), "--secret", f"id=s,src={secret}", "--explain")
        self.last = result.out.strip()
        labels = {e["step"]: e["label"] for e in result.events if e["event"] == "step_started"}
        lines = []
        for event in sorted((e for e in result.events if e["event"] == "explained"), key=lambda e: e["step"]):
            label = re.sub(r"\{ id; .* sort", "REPORT", labels[event["step"]])
            text = re.sub(r"sha256:[0-9a-f]+…?", "sha256:…", event["text"])
            if text.startswith("what comes before it changed"):
                continue   # follows from a changed step, the same sentence every time
            text = re.sub(r"\{ id; .* sort", "REPORT", text)
            lines.append(f"  {label.splitlines()[0]}: {text}")
        return lines


@test
def every_kind_of_change_has_its_line(w):
    bench = Bench(w)
    report = []
    for name in sorted(MUTATIONS):
        p = Project()
        bench.reasons(p)
        if name == "times":
            bench.clock += 1
        elif name == "owner_and_attributes_on_disk":
            continue   # needs root, and is no reason for anything: the property test has it
        elif name in ("evicted_record", "evicted_layer", "base_tag_moved"):
            MUTATIONS[name](bench, random.Random(1))
        else:
            MUTATIONS[name](p, random.Random(1))
        report += [name, *(bench.reasons(p) or ["  (nothing runs)"])]
        if name == "base_tag_moved":
            bench.move_tag(None, 0)
    text = "\n".join(report) + "\n"
    if os.environ.get("IMGBUILD_ACCEPT") == "1":
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(text)
    equal(text, GOLDEN.read_text(), f"lines of {GOLDEN.name}")


def context_of(w):
    return w.folder("context", {"Dockerfile": "FROM scratch\nCOPY . /x/\nCOPY a /y\n", "a": "one", "b/c": "two"})


def explained(result):
    return [e for e in result.events if e["event"] == "explained"]


@test
def a_changed_file_among_thousands_is_named(w):
    files = {f"d{i // 100}/f{i}": str(i) for i in range(1000)}
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY . /app/\n", **files})
    w.build(context)
    (context / "d3/f333").write_text("other")
    (context / "d4/new").write_text("new")
    (reason,) = explained(w.build(context, "--explain"))
    contains(reason["text"], "file app/d3/f333: content changed; file app/d4/new: new")
    equal((reason["cause"], reason["name"]), ("file", "app/d3/f333"), "cause for machines")


@test
def a_miss_by_mode_bits_alone_names_the_option_that_avoids_it(w):
    context = context_of(w)
    w.build(context)
    os.chmod(context / "a", 0o640)
    first = explained(w.build(context, "--explain"))[0]
    contains(first["text"], "mode 0644 became 0640")
    contains(first["text"], "--context-modes=git")
    equal(first["cause"], "mode", "cause")
    (context / "b/c").write_text("twee")
    os.chmod(context / "a", 0o644)
    text = explained(w.build(context, "--explain"))[0]["text"]
    if "--context-modes" in text:
        raise AssertionError(f"content changed too, so the option would not help: {text}")


@test
def clones_under_every_umask_give_one_digest_and_hit_one_cache_with_git_modes(w):
    digests, runs = set(), []
    for umask in (0o002, 0o022, 0o027, 0o077):
        before = os.umask(umask)
        context = w.folder(f"clone-{umask:o}", {"Dockerfile": "FROM scratch\nCOPY . /x/\n", ".dockerignore": "Dockerfile\n", "tool": "#!/bin/sh\n", "d/f": "text"})
        os.chmod(context / "tool", 0o777 & ~umask)
        os.umask(before)
        for path in context.rglob("*"):
            os.utime(path, (1_600_000_000, 1_600_000_000))
        result = w.build(context, "--context-modes=git", "--source-date-epoch", EPOCH)
        digests.add(result.out)
        runs.append(len(result.ran))
    equal(len(digests), 1, "number of digests")
    equal(runs, [1, 0, 0, 0], "steps run by each clone")


@test
def a_mode_that_chmod_overrides_is_not_part_of_the_key(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nCOPY --chmod=0755 a /a\n", "a": "x"})
    first = w.build(context)
    os.chmod(context / "a", 0o600)
    second = w.build(context)
    equal((second.ran, second.out), ([], first.out), "steps and digest")


@test
def explanations_for_machines_are_a_line_of_json_each(w):
    context = context_of(w)
    w.run("-q", context)
    (context / "a").write_text("uno")
    result = w.run("build", "--progress=quiet", "--explain=json", context)
    documents = [json.loads(line) for line in result.err.splitlines()]
    equal([d["line"] for d in documents], [2, 3], "lines of the Dockerfile")
    equal(documents[0]["cause"], "file", "cause")
    contains(w.run("build", "--explain=xml", context, ok=False).err, "--explain is text or json")


@test
def an_inserted_line_is_compared_with_its_old_neighbours(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN echo one\nRUN echo two\n"})
    w.build(context)
    (context / "Dockerfile").write_text("FROM busybox\nENV A=1\nRUN echo one\nRUN echo two\n")
    reasons = explained(w.build(context, "--explain"))
    contains(reasons[0]["text"], 'the variable A: new, "1"')
    contains(reasons[1]["text"], 'the variable A: new, "1"; what comes before it changed: line 3: RUN echo one')


@test
def why_explains_the_last_build_afterwards(w):
    context = context_of(w)
    contains(w.run("why", ok=False).err, "no build of this store has run a step yet")
    w.run("-q", context)
    (context / "a").write_text("uno")
    w.run("-q", context)
    w.run("-q", context)   # nothing runs: what was said of the build before still holds
    everything = w.run("why").out.splitlines()
    equal(len(everything), 2, "lines")
    contains(everything[0], "#1 [1/2] COPY . /x/ (Dockerfile:2): file a: content changed")
    contains(w.run("why", "2").out, "Dockerfile:3")
    contains(w.run("why", "COPY a").out, "#2")
    equal(json.loads(w.run("why", "1", "--format=json").out)["cause"], "file", "cause")
    contains(w.run("why", "99", ok=False).err, "did not run one like")


@test
def context_ls_and_why_say_what_is_part_of_the_build(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\n", ".dockerignore": "*.log\n!keep.log\nout\n!out/kept\n",
                                   "a": "x", "b.log": "x", "keep.log": "x", "out/kept": "x", "out/gone": "x"})
    listed = w.run("context", "ls", context).out.splitlines()
    equal(listed, [".dockerignore", "Dockerfile", "a", "keep.log", "out/", "out/kept"], "files")
    equal([json.loads(line)["path"] for line in w.run("context", "ls", "--format=json", context).out.splitlines()][2], "a", "a path for machines")

    def why(path):
        return w.run("context", "why", "-C", context, path).out.strip()

    equal(why("a"), "a: part of the build: no rule matches it", "a")
    equal(why("b.log"), "b.log: not part of the build: left out by line 1 of .dockerignore (*.log)", "b.log")
    equal(why("keep.log"), "keep.log: part of the build: kept by line 2 of .dockerignore (!keep.log)", "keep.log")
    equal(why("out/gone"), "out/gone: not part of the build: left out by line 3 of .dockerignore (out)", "out/gone")
    equal(why("out"), "out: part of the build for what it holds, although line 3 of .dockerignore (out) leaves it out", "out")
    contains(w.run("context", "why", "-C", context, "nothing", ok=False).err, "does not exist in the build context")


@test
def diff_names_the_first_difference_and_all_of_them(w):
    context = w.folder("context", {"Dockerfile": "FROM scratch\nENV A=1\nCOPY a b/ /x/\n", "a": "one", "b/c": "two"})
    for path in context.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    build = ("--source-date-epoch", "1500000000")
    w.run("-q", "-t", "one", *build, context)
    w.run("-q", "-t", "same", *build, context)
    equal(w.run("diff", "one", "same").out, "", "differences of equal images")
    (context / "a").write_text("uno")
    os.chmod(context / "b/c", 0o600)
    (context / "Dockerfile").write_text("FROM scratch\nENV A=2\nCOPY a b/ /x/\n")
    archive = w.path / "two.tar"
    w.run("-q", "-t", "two", "-o", archive, *build, context)
    first = w.run("diff", "one", "two", ok=False)
    equal(first.code, 1, "exit code")
    lines = first.out.splitlines()
    equal(len(lines), 1, "lines")
    contains(lines[0], "layer 1 (COPY a b/ /x/ # buildkit): x/a: content: sha256:")
    everything = w.run("diff", "--all", "one", archive, ok=False).out
    contains(everything, "x/c: mode: 0644 became 0600")
    contains(everything, 'config: config.Env[1]: "A=1" became "A=2"')
    documents = [json.loads(line) for line in w.run("diff", "--all", "--format=json", "one", "two", ok=False).out.splitlines()]
    equal(sorted({d["place"].split()[0] for d in documents}), ["config", "layer"], "places")
    equal(w.run("diff", "one", "nothing", ok=False).code, 2, "exit code for a name that is not there")


@test
def images_do_not_depend_on_threads_user_path_or_order_of_files(w):
    names = [f"f{i}" for i in range(300)]
    large = {"text": b"".join(b"line %d of %d\n" % (i, i * 7919 % 1009) for i in range(300_000)), "noise": random.Random(1).randbytes(5_000_000)}
    digests = {"gzip": set(), "zstd": set()}
    for turn, threads in enumerate((1, 2, 4, 8)):
        random.Random(turn).shuffle(names)
        context = w.folder(f"place-{turn}/context", {"Dockerfile": "FROM scratch\nCOPY . /all/\n", ".dockerignore": "Dockerfile\n"})
        for name in names:   # the order in which a directory lists them differs with the order they are made in
            (context / name).write_text(name * 500)
            os.utime(context / name, (1_600_000_000, 1_600_000_000))
        for name, content in large.items():
            (context / name).write_bytes(content)
            os.utime(context / name, (1_600_000_000, 1_600_000_000))
        os.utime(context / ".dockerignore", (1_600_000_000, 1_600_000_000))
        for compression, found in digests.items():
            w.store = w.path / f"store-{turn}-{compression}"
            archive = w.path / f"{turn}.tar"
            w.run("-q", "-t", "app", f"--threads={threads}", f"--jobs={threads}", f"--compression={compression}",
                  "-o", f"type=oci,dest={archive}", "--source-date-epoch", EPOCH, context)
            found.add(hashlib.sha256(pathlib.Path(archive).read_bytes()).hexdigest())
    equal({compression: len(found) for compression, found in digests.items()}, {"gzip": 1, "zstd": 1}, "number of different archives")


if __name__ == "__main__":
    run()
