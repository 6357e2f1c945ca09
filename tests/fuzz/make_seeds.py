#!/usr/bin/env python3
"""Writes the inputs of testdata/cases as fuzzing seeds: make_seeds.py FOLDER"""
import json
import pathlib
import sys


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


def main():
    target = pathlib.Path(sys.argv[1])
    write(target / "dockerfile", ((case["id"], case["dockerfile"]) for case in load("parser")["cases"]))
    write(target / "words", word_seeds())
    write(target / "ignore_file", ignore_seeds())


main()
