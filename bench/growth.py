"""How time and memory grow with the work: one curve a function, each a list of points {x, seconds, peak_mib}."""
import dataclasses
import hashlib
import os
import shutil
import statistics
import subprocess

import svg


@dataclasses.dataclass
class Reach:
    """The largest points. The full reach takes many minutes and some gigabytes."""
    builds: tuple = (0, 100, 1000)
    files: tuple = (1000, 10000, 100000)
    steps: tuple = (10, 50, 100, 200, 500)
    stages: tuple = (5, 20, 50, 100, 200)
    mebibytes: tuple = (1, 16, 64, 256)
    threads_mebibytes: int = 256

    @staticmethod
    def full():
        return Reach(builds=(0, 10, 100, 1000, 10000), files=(1000, 10000, 100000, 1000000),
                     mebibytes=(1, 16, 64, 256, 1024, 2048))

    @staticmethod
    def quick():
        return Reach(builds=(0, 5), files=(100, 1000), steps=(2, 4), stages=(2, 4), mebibytes=(1, 4), threads_mebibytes=4)


def _point(x, costs):
    return {"x": x, "seconds": statistics.median(c["wall"] for c in costs), "cpu": statistics.median(c["user"] + c["system"] for c in costs),
            "peak_mib": max(c["peak_kib"] for c in costs) / 1024}


class Growth:
    def __init__(self, builder, inputs, work, reach, rounds=5):
        self.builder, self.inputs, self.work, self.reach, self.rounds = builder, inputs, work, reach, rounds
        self.archive = work / "growth.tar"

    def _fresh(self):
        self.builder.reset()
        self.builder.base("busybox", self.inputs.busybox())

    def _cold(self, context, rounds=None):
        costs = []
        for _ in range(rounds or self.rounds):
            self._fresh()
            costs.append(self.builder.build(context, self.archive))
        return costs

    def store(self):
        """The tiny build and the fifty steps in a store that has seen more and more builds."""
        context = self.work / "changing"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir()
        (context / "Dockerfile").write_text("FROM busybox\nCOPY file /file\nWORKDIR /work\n")
        curves = {"tiny, cold": [], "tiny, unchanged": [], "50 steps": []}
        tiny, steps = self.inputs.tiny(), self.inputs.steps(50)
        self._fresh()
        done = 0
        for count in self.reach.builds:
            for number in range(done, count):
                (context / "file").write_text(f"{number}\n")
                subprocess.run([self.builder.program, "--root", str(self.builder.store), "--progress=quiet", str(context)],
                               capture_output=True, check=True)
            done = count
            os.sync()  # the disk's backlog of so many builds is not what a build in their store costs
            runs = range(self.rounds)
            curves["tiny, cold"].append(_point(count, [self.builder.build(tiny, self.archive, True) for _ in runs]))
            curves["tiny, unchanged"].append(_point(count, [self.builder.build(tiny, self.archive) for _ in runs]))
            curves["50 steps"].append(_point(count, [self.builder.build(steps, self.archive, True) for _ in runs]))
        shutil.rmtree(context)
        return curves

    def context(self):
        """Scanning a context in which nothing changed, and one whose files are ignored but for one."""
        curves = {"unchanged": [], "ignored": []}
        for files in self.reach.files:
            for name, context in (("unchanged", self.inputs.tree(files, 1, f"tree-{files}-small")), ("ignored", self.inputs.ignored_tree(files))):
                self._fresh()
                self.builder.build(context, self.archive)
                curves[name].append(_point(files, [self.builder.build(context, self.archive) for _ in range(self.rounds)]))
        return curves

    def steps(self):
        return {"RUN steps, cold": [_point(n, self._cold(self.inputs.steps(n), 3)) for n in self.reach.steps]}

    def stages(self):
        return {"stages, cold": [_point(n, self._cold(self.inputs.stages(n, "true"), 3)) for n in self.reach.stages]}

    def layer(self):
        curves = {}
        for kind in ("text", "random"):
            curves[kind] = [_point(n, self._cold(self.inputs.one_file(kind, n), 2)) for n in self.reach.mebibytes]
        return curves

    def threads(self):
        """The same layers on more threads: their digests must be the same, and a processor each makes them faster."""
        curves = {}
        for kind in ("text", "random"):
            context = self.inputs.one_file(kind, self.reach.threads_mebibytes)
            points, digests, options = [], set(), self.builder.options
            for threads in (1, 2, 4, 8):
                self.builder.options = [*options, f"--threads={threads}", "--source-date-epoch=1000000000"]
                points.append(_point(threads, self._cold(context, 3)))
                digests.add(hashlib.sha256(self.archive.read_bytes()).hexdigest())
            self.builder.options = options
            if len(digests) != 1:
                raise RuntimeError(f"{kind}: {len(digests)} different archives from 1, 2, 4 and 8 threads")
            curves[kind] = points
        return curves

    def all(self, say):
        """{name: (title, x label, curves, logarithmic x)}"""
        out = {}
        for name, title, label, logarithmic in (
                ("store", "A store that has seen more and more builds", "builds before", False),
                ("context", "Scanning the context", "files", True),
                ("steps", "More steps", "RUN steps", False),
                ("stages", "More stages", "stages", False),
                ("layer", "Larger layers", "MiB", False),
                ("threads", f"A layer of {self.reach.threads_mebibytes} MiB on more threads", "threads", False)):
            say(f"growth: {name}")
            out[name] = {"title": title, "x": label, "log": logarithmic, "curves": getattr(self, name)()}
        return out


def write_plots(growth, directory):
    """One file a curve and measure. Gives their names."""
    directory.mkdir(parents=True, exist_ok=True)
    names = []
    for name, what in growth.items():
        for key, label in (("seconds", "seconds"), ("peak_mib", "peak memory in MiB")):
            if key == "peak_mib" and name not in ("layer", "context"):
                continue
            series = {curve: [(p["x"], p[key]) for p in points if p["x"] > 0 or not what["log"]] for curve, points in what["curves"].items()}
            path = directory / f"{name}-{key.replace('_', '-')}.svg"
            path.write_text(svg.plot(what["title"], what["x"], label, series, log_x=what["log"], log_y=what["log"]))
            names.append(path.name)
    return names
