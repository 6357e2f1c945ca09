"""What a layer costs: content is read once, and of a layer that changed a little most compressed bytes are taken from the
layer before it. Whatever is taken, the image is the one a store that knows nothing makes.
"""
import os
import random
import re

from harness import command, contains, equal, run, test

DOCKERFILE = "FROM scratch\nCOPY src /src\n"
EPOCH = "1700000000"


def words(r, size):
    return " ".join(f"{r.choice(('alpha', 'beta', 'gamma', 'delta'))}{r.randrange(4000)}" for _ in range(size // 8))[:size]


def project(w, count=1500, seed=1):
    """Some MB in many small files and one large one."""
    r = random.Random(seed)
    files = {f"src/d{n % 30:02}/f{n:04}": words(r, 1500 + n % 5 * 1200) for n in range(count)}
    files["src/d15/large"] = words(r, 2_500_000)
    files["Dockerfile"] = DOCKERFILE
    top = w.folder("context", files)
    settle(top)
    return top


def settle(top):
    """Gives everything an old time: digests of files as young as the clock's grain are not remembered."""
    for directory, names, files in os.walk(top, topdown=False):
        for name in names + files:
            os.utime(os.path.join(directory, name), (1_600_000_000, 1_600_000_000))


def build(w, top, *arguments, store="store"):
    w.store = w.path / store
    result = w.build(top, "--source-date-epoch", EPOCH, "--stats", *arguments)
    result.image = result.out.strip()
    text = result.err
    result.read = int(re.search(r"(\d+) bytes read", text)[1])
    result.written, result.reused = map(int, re.search(r"layers: (\d+) bytes written, (\d+) of them reused", text).groups())
    return result


def cold_image(w, top, number, *arguments):
    result = build(w, top, *arguments, store=f"cold-{number}")
    equal(result.reused, 0, "bytes reused by a store that knows nothing")
    command("rm", "-rf", w.store)
    return result.image


def sizes(top):
    return sum(path.stat().st_size for path in (top / "src").rglob("*") if path.is_file())


@test
def content_is_read_once(w):
    top = project(w)
    total = sizes(top)
    equal(build(w, top).read, total, "bytes read by a cold build")
    again = build(w, top)
    equal((again.read, again.written), (0, 0), "bytes read and written when nothing changed")
    equal(build(w, top, "--no-cache").read, total, "bytes read without a cache")


@test
def content_is_read_once_in_a_store_that_knows_other_projects(w):
    other = w.folder("other", {"Dockerfile": "FROM scratch\nCOPY file /file\n", "file": "x"})
    build(w, other)
    top = project(w)
    equal(build(w, top).read, sizes(top), "bytes read by a cold build")


@test
def a_fresh_checkout_of_what_is_known_is_read_and_not_packed_again(w):
    build(w, project(w))
    command("cp", "-r", w.path / "context", w.path / "checkout")
    again = build(w, w.path / "checkout")
    equal((again.read, again.written), (sizes(w.path / "checkout"), 0), "bytes read and written")


@test
def reading_leaves_no_trace_in_access_times(w):
    top = project(w, 20)
    before = {path: path.stat().st_atime_ns for path in top.rglob("*") if path.is_file()}
    build(w, top)
    equal({path: path.stat().st_atime_ns for path in before if path.name != "Dockerfile"},
          {path: time for path, time in before.items() if path.name != "Dockerfile"}, "access times")


@test
def one_changed_file_costs_its_surroundings(w):
    top = project(w)
    build(w, top)
    (top / "src/d07/f0007").write_text("changed\n")
    edited = build(w, top)
    equal(edited.image, cold_image(w, top, 0), "image after one file changed")
    packed = edited.written - edited.reused
    if not packed < edited.written // 4:
        raise AssertionError(f"{packed} of {edited.written} bytes were compressed again for one small file")


@test
def random_changes_make_the_images_of_a_cold_build(w):
    r = random.Random(int(os.environ.get("IMGBUILD_SEED", "3")))
    top = project(w, 700)
    build(w, top)
    reused = 0
    for number in range(int(os.environ.get("IMGBUILD_MUTATIONS", "12"))):
        files = sorted(path for path in (top / "src").rglob("*") if path.is_file())
        for _ in range(r.randrange(1, 4)):
            path = r.choice([path for path in files if path.exists()])
            kind = r.randrange(6)
            if kind == 0:
                path.write_text(words(r, r.randrange(9000)))
            elif kind == 1:
                path.unlink()
            elif kind == 2:
                path.rename(path.with_name(f"renamed{number}-{r.randrange(1000)}"))
            elif kind == 3:
                path.with_name(f"new{number}-{r.randrange(1000)}").write_text(words(r, r.randrange(200_000)))
            elif kind == 4:
                os.chmod(path, r.choice((0o600, 0o755)))
            else:
                (top / "src/d15/large").write_text(words(r, 1_000_000 + r.randrange(2_000_000)))
        settle(top) if r.random() < 0.5 else None
        warm = build(w, top)
        equal(warm.image, cold_image(w, top, number), f"image after change {number}")
        reused += warm.reused
    if reused == 0:
        raise AssertionError("nothing was ever reused")


@test
def damage_is_noticed(w):
    top = project(w, 300)
    first = build(w, top)
    lists = list((w.path / "store/pieces").iterdir())
    equal(len(lists), 1, "lists of pieces")
    r = random.Random(2)
    for number in range(4):
        blob = w.path / "store/blobs/sha256" / lists[0].name
        target = lists[0] if number < 2 else blob
        kept = target.read_bytes()
        os.chmod(target, 0o600)
        damaged = bytearray(kept)
        for _ in range(1 if number < 2 else 40):
            damaged[r.randrange(len(damaged))] ^= 0x55
        target.write_bytes(damaged)
        (top / "src/d07/f0007").write_text(f"changed {number}\n")
        image = build(w, top).image
        target.write_bytes(kept)
        equal(image, cold_image(w, top, number), "image made beside damaged pieces")
        # The list of the newest layer is the one that is looked at.
        lists = sorted((w.path / "store/pieces").iterdir(), key=lambda path: path.stat().st_mtime_ns)[-1:]
    contains(first.image, "sha256:")


@test
def other_compressions_do_not_mix(w):
    top = project(w, 300)
    build(w, top)
    (top / "src/d07/f0007").write_text("changed\n")
    for number, how in enumerate((("--compression-level", "6"), ("--compression", "zstd"), ("--compression", "uncompressed"))):
        warm = build(w, top, "--no-cache", *how)
        equal(warm.reused, 0, f"bytes reused with {how}")
        equal(warm.image, cold_image(w, top, number, *how), f"image with {how}")


if __name__ == "__main__":
    run()
