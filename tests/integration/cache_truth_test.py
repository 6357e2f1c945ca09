"""Cache truth: inputs are changed at random, and every build is compared with one that has no cache.

An oracle says, from the project alone, which steps have to be taken from the cache: those whose inputs (rules CAC-1 to CAC-33
of the Dockerfile reference) were seen before, all of them and no other. The image must be the one an uncached build
makes, to the last bit. IMGBUILD_MUTATIONS sets how many changes are tried (default 100), IMGBUILD_SEED where they start.
"""
import json
import os
import random
import shutil

from cache_truth_mutations import MUTATIONS, OUTSIDE
from cache_truth_project import EPOCH, Project
from harness import equal, need_root, run, test


class World:
    """A store with a cache, one without, a context on disk, and what the oracle has seen."""

    def __init__(self, w):
        self.w = w
        self.top = w.path / "context"
        self.warm, self.cold = w.path / "warm", w.path / "cold"
        self.clock, self.owner = 1_750_000_000, 0
        self.seen = {}        # key of the oracle -> digest of its layer, "" when it is not known
        self.gone = set()     # digests of evicted layers
        self.images = []
        self.make_bases()

    def on(self, store):
        self.w.store = store
        return self.w

    def archive(self, number):
        return self.w.path / f"base-{number}.tar"

    def make_bases(self):
        self.on(self.warm).busybox()
        for number in range(3):
            # The first two have equal configs but for a label: the digest of the image alone decides (CAC-32).
            top = self.w.folder(f"base-{number}", {"Dockerfile": f"FROM busybox\nRUN mkdir -m 1777 /out\nENV BASE={number // 2}\nLABEL n={number}\n"})
            result = self.on(self.warm).build(top, "-t", "base", "-o", f"type=docker,dest={self.archive(number)}", "--source-date-epoch", EPOCH)
            self.images.append(result.out.strip())
        self.move_tag(random.Random(0))

    def move_tag(self, r):
        """`base` names this one from now on, here and there."""
        self.base = r.randrange(3)
        for store in (self.warm, self.cold):
            self.on(store).run("load", "-i", self.archive(self.base))

    def evict_records(self):
        shutil.rmtree(self.warm / "cache")
        self.seen.clear()

    def evict_layer(self, r):
        known = sorted({digest for digest in self.seen.values() if digest} - self.gone)
        if not known:
            return
        digest = r.choice(known)
        (self.warm / "blobs" / digest.replace(":", "/")).unlink()
        self.gone.add(digest)

    def build_and_compare(self, p, what):
        p.write(self.top, self.clock, self.owner)
        secret = self.w.path / "secret"
        secret.write_text(p.secret)
        arguments = [*p.arguments(), "--secret", f"id=s,src={secret}"]

        result = self.on(self.warm).build(self.top, *arguments, "-t", "app", "--explain")
        how = {e["step"]: e["how"] for e in result.events if e["event"] == "step_finished"}
        actual = [how[step] == "cached" for step in sorted(how)]
        keys = p.expected_keys(self.images[self.base], self.built_of(p))
        expected = [key in self.seen and self.seen[key] not in self.gone for key in keys]
        if actual != expected:
            labels = {e["step"]: e["label"] for e in result.events if e["event"] == "step_started"}
            table = "\n".join(f"  {'hit ' if a else 'miss'} expected {'hit ' if e else 'miss'} {labels[s][:110]!r}"
                              for s, a, e in zip(sorted(how), actual, expected))
            reasons = [(e["step"], e["text"]) for e in result.events if e["event"] == "explained"]
            raise AssertionError(f"after the changes {what}:\n{table}\n{reasons}\n{p.dockerfile()}")

        (self.cold / "stat-memo").unlink(missing_ok=True)
        plain = self.on(self.cold).build(self.top, *arguments, "--no-cache")
        equal(result.out, plain.out, f"image after the changes {what}")
        self.remember(keys, result)

    def built_of(self, p):
        """What the report in /built is a function of: COPY --from knows the content and not how it was made (CAC-26)."""
        return (self.base // 2, p.selected("src"), p.options["hostname"])

    def remember(self, keys, result):
        blobs = self.warm / "blobs"
        manifest = json.loads((blobs / result.out.strip().replace(":", "/")).read_text())
        layers = [layer["digest"] for layer in manifest["layers"]]
        count = len(keys)
        for position, key in enumerate(keys):
            from_the_end = count - position
            # The last two are commands whose layers no other step makes; their layers may be evicted.
            self.seen[key] = layers[-from_the_end] if from_the_end <= 2 else ""
        for digest in layers:
            self.gone.discard(digest)


@test
def random_changes_never_give_a_wrong_hit_or_a_needless_miss(w):
    need_root()   # owners of files are among what changes
    count = int(os.environ.get("IMGBUILD_MUTATIONS", "100"))
    seed = int(os.environ.get("IMGBUILD_SEED", "1"))
    r = random.Random(seed)
    world, p = World(w), Project()
    world.build_and_compare(p, "none")
    done, used = 0, set()
    names = sorted(MUTATIONS)
    while done < count:
        chosen = r.sample(names, r.choice([1, 1, 1, 2, 3])) if done > len(names) else [names[done % len(names)]]
        if "same_size_same_time_in_place" in chosen:
            chosen = ["same_size_same_time_in_place"]   # the other files are not written anew then
        for name in chosen:
            change = MUTATIONS[name]
            change(world if change in OUTSIDE else p, r)
            used.add(name)
        done += len(chosen)
        world.build_and_compare(p, f"{chosen} (number {done}, seed {seed})")
    if count >= 2 * len(names):
        equal(sorted(used), names, "kinds of change that were tried")
    print(f"     {done} changes of {len(used)} kinds", flush=True)


if __name__ == "__main__":
    run()
