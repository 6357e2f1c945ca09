"""What a store may hold: looks at the files themselves, and asks imgbuild."""
import hashlib
import json
import os
import pathlib
import subprocess


def files_of(store):
    """Every name in a store but those of lock files, whose number does not grow, and of the memos."""
    names = set()
    for directory, _, files in os.walk(store):
        relative = os.path.relpath(directory, store)
        if relative.split("/")[0] in ("locks", "layers", "mounts"):
            continue
        names.update(os.path.normpath(os.path.join(relative, name)) for name in files)
    names.update("layers/" + name for name in listing(store / "layers"))
    return {name for name in names if not name.startswith("stat-memo")}


def listing(folder):
    return sorted(os.listdir(folder)) if folder.exists() else []


def corrupt_blobs(store):
    """Names of blobs that are not what their name says."""
    found = []
    for blob in (store / "blobs" / "sha256").iterdir():
        if hashlib.sha256(blob.read_bytes()).hexdigest() != blob.name:
            found.append(blob.name)
    return found


def unfinished(store):
    """What lies around half made."""
    found = [f"work/{name}" for name in listing(store / "work")]
    for top in ("tags", "indexes", "cache", "layers", "mounts", "blobs/sha256", "."):
        for name in listing(store / top):
            if name.startswith(".") or name.endswith(".tmp"):
                found.append(f"{top}/{name}")
    return found


def orphans(w):
    """What `fsck --deep` finds wrong, and what no image, record or running process needs. Every byte is accounted for."""
    report = json.loads(w.run("fsck", "--deep", "--format=json", ok=None).out)
    told = json.loads(w.run("du", "--format=json").out)
    found = [f"{problem['path']}: {problem['what']}" for problem in report["problems"]]
    found += [item["path"] for item in told["items"] if item["neededBy"] == "nothing"]
    on_disk = int(subprocess.run(["du", "-s", "-B1", w.store], capture_output=True, check=True).stdout.split()[0])
    if told["size"] != on_disk:
        found.append(f"du tells of {told['size']} bytes, there are {on_disk}")
    return found


def same_as(store, reference):
    """Differences between the names in two stores that saw the same builds."""
    ours, theirs = files_of(store), files_of(reference)
    missing = {name for name in theirs - ours if not name.startswith("cache/slots/")}  # only explanations come from these
    return sorted(f"+{name}" for name in ours - theirs) + sorted(f"-{name}" for name in missing)


def leftovers_beside(folder, allowed):
    return [name for name in listing(pathlib.Path(folder)) if name not in allowed]
