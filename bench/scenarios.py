"""The scenarios of the table: what is built, in which state, and which time imgbuild sets itself for it."""
import dataclasses
import os
import shutil
import time
from typing import Callable, Optional


@dataclasses.dataclass
class Scenario:
    name: str
    title: str
    context: Callable            # (inputs, sizes) -> directory, or None where it cannot be made
    target_seconds: float
    state: str = "cold"          # cold: nothing of it is known; unchanged: built before; edited: one file differs
    base: Optional[str] = "busybox"
    target_peak_mib: Optional[float] = None
    target_bytes_of: Optional[str] = None   # the archive may be 6 % larger than that of this builder
    rounds: int = 5
    # What cannot be avoided, as a command of the shell: $CONTEXT is the context, $ARCHIVE the image that was just built,
    # $SCRATCH an empty directory.
    floor: Optional[str] = None
    floor_title: str = ""


FIND = "find $CONTEXT/src -printf '%s %T@ %C@\\n'"
SHELL = "unshare --mount --pid --uts --ipc --fork busybox sh -c"


@dataclasses.dataclass
class Sizes:
    """`full` is what the table is about; `quick` shows in seconds that everything works."""
    tree_files: int = 20000
    file_mebibytes: int = 512
    steps: int = 50
    many_files: int = 50000
    stages: int = 4
    stage_command: str = "sleep 2"
    slow_rounds: int = 3
    dockerfile_kibibytes: int = 1024

    @staticmethod
    def quick():
        return Sizes(tree_files=300, file_mebibytes=4, steps=3, many_files=300, stages=2, stage_command="sleep 0.1", slow_rounds=1, dockerfile_kibibytes=16)


def scenarios(sizes):
    tree = lambda inputs: inputs.tree(sizes.tree_files)
    slow = sizes.slow_rounds
    label = "{:,}".format
    return [
        Scenario("scratch", "FROM scratch + LABEL, cold", lambda i: i.dockerfile("scratch", "FROM scratch\nLABEL a=b\n"), 0.015,
                 base=None, target_peak_mib=10, rounds=15, floor="true", floor_title="a shell that does nothing"),
        Scenario("long-dockerfile", f"the same behind {sizes.dockerfile_kibibytes} KiB of stages that are not needed, cold",
                 lambda i: i.long_dockerfile(sizes.dockerfile_kibibytes), 0.05, base=None, rounds=15, floor="wc -l $CONTEXT/Dockerfile",
                 floor_title="wc of the Dockerfile"),
        Scenario("tiny-cold", "tiny: FROM, RUN echo, COPY, archive, cold", lambda i: i.tiny(), 0.025, rounds=15,
                 floor=f"{SHELL} 'echo hi'", floor_title="unshare and a shell that says hi"),
        Scenario("tiny-unchanged", "the same, nothing changed", lambda i: i.tiny(), 0.010, state="unchanged", rounds=15,
                 floor="true", floor_title="a shell that does nothing"),
        Scenario("tree-unchanged", f"{label(sizes.tree_files)}-file context, nothing changed", tree, 0.08, state="unchanged", rounds=7,
                 floor=f"{FIND} && cp $ARCHIVE $SCRATCH/", floor_title="find, and cp of the archive"),
        Scenario("tree-edited", "the same, one file edited", tree, 0.5, state="edited", rounds=5,
                 floor=f"{FIND} && cp $ARCHIVE $SCRATCH/", floor_title="find, and cp of the archive"),
        Scenario("tree-cold", "the same, cold", tree, 0.8, rounds=slow,
                 floor="tar -C $CONTEXT -cf - src | sha256sum", floor_title="tar of the tree into sha256sum"),
        Scenario("text", f"COPY one {sizes.file_mebibytes} MiB text file, gzip archive", lambda i: i.one_file("text", sizes.file_mebibytes),
                 2.5, base=None, target_bytes_of="docker", rounds=slow, target_peak_mib=64,
                 floor="sha256sum $CONTEXT/file", floor_title="sha256sum of the file"),
        Scenario("log", f"COPY one {sizes.file_mebibytes} MiB log, gzip archive", lambda i: i.one_file("log", sizes.file_mebibytes),
                 2.5, base=None, target_bytes_of="docker", rounds=slow, target_peak_mib=64,
                 floor="sha256sum $CONTEXT/file", floor_title="sha256sum of the file"),
        Scenario("random", f"COPY one {sizes.file_mebibytes} MiB random file, gzip archive",
                 lambda i: i.one_file("random", sizes.file_mebibytes), 1.2, base=None, rounds=slow, target_peak_mib=64,
                 floor="sha256sum $CONTEXT/file & cp $CONTEXT/file $SCRATCH/; wait", floor_title="sha256sum and cp of the file at once"),
        Scenario("steps", f"{sizes.steps} RUN steps of one small file each", lambda i: i.steps(sizes.steps), 0.35,
                 floor=f"i=0; while [ $i -lt {sizes.steps} ]; do {SHELL} 'echo $0 > $1/f$0' $i $SCRATCH; i=$((i+1)); done",
                 floor_title="as many times unshare and a shell"),
        Scenario("many-files", f"one RUN that makes {label(sizes.many_files)} files", lambda i: i.many_files(sizes.many_files), 1.45, rounds=slow,
                 floor=f"cd $SCRATCH && busybox sh -c 'i=0; while [ $i -lt {sizes.many_files} ]; do echo $i > $i; i=$((i+1)); done'",
                 floor_title="the loop alone"),
        Scenario("stages", f"{sizes.stages} independent stages, `{sizes.stage_command}` each",
                 lambda i: i.stages(sizes.stages, sizes.stage_command), 2.05, rounds=slow,
                 floor=sizes.stage_command, floor_title=f"`{sizes.stage_command}`"),
        Scenario("debian-touch", "Debian base, RUN touches one file, archive",
                 lambda i: i.dockerfile("debian-touch", "FROM debian\nRUN touch /touched\n") if i.debian() else None, 0.10,
                 state="again", base="debian", floor="cp $ARCHIVE $SCRATCH/", floor_title="cp of the archive"),
        Scenario("debian-chown", "the same, `chown -R` of `/usr`",
                 lambda i: i.dockerfile("debian-chown", "FROM debian\nRUN chown -R 1:1 /usr\n") if i.debian() else None, 1.3,
                 state="again", base="debian", rounds=slow, floor="cp $ARCHIVE $SCRATCH/", floor_title="cp of the archive"),
    ]


def edit_one(context):
    """Changes a few bytes of one file in the middle of the tree; its size stays."""
    paths = sorted(path for path in (context / "src").rglob("f*") if path.is_file())
    path = paths[len(paths) // 3]
    data = path.read_bytes()
    stamp = b"%012d" % (time.time_ns() // 1000 % 10**12)
    path.write_bytes(stamp + data[len(stamp):])
    time.sleep(0.05)   # so that the file is older than the clock's grain when it is read


def prepare(builder, scenario, inputs, context, archive):
    """Brings the builder into the scenario's state. Not timed. Gives whether the build is to pass the cache by."""
    base = {"busybox": inputs.busybox, "debian": inputs.debian, None: None}[scenario.base]
    if scenario.state == "cold":
        builder.reset()
        if base is not None:
            builder.base(scenario.base, base())
        return True
    if scenario.state == "again":
        return True
    if scenario.state == "edited":
        edit_one(context)
    return False


def before_rounds(builder, scenario, inputs, context, archive):
    """What a builder does once ahead of its rounds, so that the base is unpacked and earlier builds are known."""
    if scenario.state == "cold":
        return
    builder.reset()
    base = {"busybox": inputs.busybox, "debian": inputs.debian, None: None}[scenario.base]
    if base is not None:
        builder.base(scenario.base, base())
    time.sleep(0.05)
    builder.build(context, archive)


def measure(builders, scenario, inputs, work, rounds=None, say=print):
    """{builder: [cost of each round]}, the builders taking turns; empty where the input cannot be made."""
    context = scenario.context(inputs)
    if context is None:
        return {}
    scratch = work / "scratch"
    archives = {builder.name: work / f"{builder.name}.tar" for builder in builders}
    costs = {builder.name: [] for builder in builders}
    broken = set()
    for turn in range(-1, rounds or scenario.rounds):
        for builder in builders:
            if builder.name in broken:
                continue
            archive = archives[builder.name]
            try:
                if turn < 0:
                    before_rounds(builder, scenario, inputs, context, archive)
                    continue
                no_cache = prepare(builder, scenario, inputs, context, archive)
                if archive.exists() and archive.stat().st_size > 32 << 20:
                    os.sync()   # what the last one left to be written is not for this one to wait for
                archive.unlink(missing_ok=True)
                cost = builder.build(context, archive, no_cache)
                cost["archive_bytes"] = archive.stat().st_size
                costs[builder.name].append(cost)
            except Exception as reason:  # one builder that cannot do this must not end the run of the others
                broken.add(builder.name)
                say(f"  {builder.name} cannot do this here: {str(reason).strip()[-300:]}")
        ours = archives[builders[0].name]
        if turn >= 0 and scenario.floor and ours.exists():
            folder = scratch / str(turn)
            folder.mkdir(parents=True)
            costs.setdefault("floor", []).append(builders[0].measure(
                ["sh", "-c", scenario.floor], env={"CONTEXT": str(context), "ARCHIVE": str(ours), "SCRATCH": str(folder)}))
    shutil.rmtree(scratch, ignore_errors=True)
    for archive in archives.values():
        archive.unlink(missing_ok=True)
    return {name: list_ for name, list_ in costs.items() if list_}
