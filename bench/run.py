#!/usr/bin/env python3
"""Measures imgbuild beside buildah and docker (BuildKit inside), whichever are installed, on inputs it makes itself.

  bench/run.py                                    the table, in a few minutes
  bench/run.py --only tiny-cold,steps --peers none
  bench/run.py --vs build-old/cli/imgbuild        two builds of imgbuild beside each other
  bench/run.py --growth full --docs docs          the table, the curves and the JSON, into docs/performance/

It judges nothing: its exit code says whether it could measure.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

import growth as growth_module
import report
import scenarios as scenario_module
from builders import Buildah, CommandFailed, Docker, Imgbuild, Measure
from inputs import Inputs

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(REPOSITORY / "build-release" / "cli" / "imgbuild"), help="the imgbuild to measure")
    parser.add_argument("--measure", help="the compiled bench/measure (default: beside the program)")
    parser.add_argument("--vs", metavar="PROGRAM", help="another imgbuild to measure beside it, called `other`")
    parser.add_argument("--peers", default="buildah,docker", help="builders to compare with, or none")
    parser.add_argument("--only", help="names of scenarios, separated by commas; `none` for the curves alone")
    parser.add_argument("--rounds", type=int, help="rounds of each scenario")
    parser.add_argument("--work", help="directory for inputs and stores (default: a temporary one)")
    parser.add_argument("--debian", help="tar of a Debian root, instead of making one with mmdebstrap")
    parser.add_argument("--quick", action="store_true", help="small inputs: shows that everything works, measures nothing of interest")
    parser.add_argument("--growth", choices=["no", "short", "full"], default="no", help="also the curves")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--docs", help="write results.json, table.md and the plots into DOCS/performance/")
    return parser.parse_args()


def machine():
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {"processors": len(os.sched_getaffinity(0)), "model": model, "memory_gib": round(memory, 1), "kernel": platform.release().split("-")[0]}


def usable_peers(options, work, measure, say):
    wanted = [] if options.peers == "none" else options.peers.split(",")
    peers = []
    for kind in (Buildah, Docker):
        if kind.name not in wanted:
            continue
        reason = kind.why_not()
        if reason is None:
            peer = kind(work, measure)
            try:
                peer.start()
                peers.append(peer)
                continue
            except (CommandFailed, OSError) as failure:
                reason = str(failure)
        say(f"without {kind.name}: {reason}")
    return peers


def write_docs(directory, document, text):
    target = pathlib.Path(directory) / "performance"
    target.mkdir(parents=True, exist_ok=True)
    (target / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    host = document["machine"]
    head = (f"Run of {document['date']} on {host['processors']} processors ({host['model']}), {host['memory_gib']} GiB, Linux {host['kernel']}; "
            + ", ".join(document["versions"].values()) + ".\n\n")
    (target / "table.md").write_text(head + text)
    if "growth" in document:
        growth_module.write_plots(document["growth"], target)


def run_all(options, work, say):
    inputs = Inputs(work / "inputs")
    if options.debian:
        inputs.debian(pathlib.Path(options.debian))
    tool = options.measure or pathlib.Path(options.program).resolve().parents[1] / "bench" / "measure"
    measure = Measure(tool, work / "output")
    builders = [Imgbuild(options.program, work, measure)]
    if options.vs:
        builders.append(Imgbuild(options.vs, work, measure, "other"))
    for builder in builders:
        builder.start()
    builders += usable_peers(options, work, measure, say)
    sizes = scenario_module.Sizes.quick() if options.quick else scenario_module.Sizes()
    try:
        document = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "machine": machine(),
                    "versions": {builder.name: builder.version() for builder in builders}, "scenarios": []}
        chosen = None if options.only is None else options.only.split(",")
        for scenario in scenario_module.scenarios(sizes):
            if chosen is not None and scenario.name not in chosen:
                continue
            costs = scenario_module.measure(builders, scenario, inputs, work, options.rounds or (1 if options.quick else None), say)
            if not costs:
                say(f"{scenario.title}: the input cannot be made here")
                continue
            document["scenarios"].append(report.summary(scenario, costs))
            shown = ", ".join(f"{name} {report.median(list_, 'wall'):.4f} s" for name, list_ in costs.items())
            say(f"{scenario.title}: {shown}")
        if options.growth != "no":
            reach = growth_module.Reach.quick() if options.quick else growth_module.Reach.full() if options.growth == "full" else growth_module.Reach()
            document["growth"] = growth_module.Growth(builders[0], inputs, work, reach, 2 if options.quick else 5).all(say)
        return document, [builder.name for builder in builders]
    finally:
        for builder in builders:
            builder.stop()


def main():
    options = arguments()
    say = lambda text: print(text, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="imgbuild-bench-") as temporary:
        work = pathlib.Path(options.work or temporary).resolve()
        work.mkdir(parents=True, exist_ok=True)
        document, names = run_all(options, work, say)
    text = report.table(document["scenarios"], names)
    print(text, end="")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    if options.docs:
        write_docs(options.docs, document, text)
    if not document["scenarios"] and "growth" not in document:
        say("nothing was measured")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
