"""The tables of docs/dockerfile.md and docs/dockerfile-rules.md: every test and file they name exists, every instruction and flag
the parser knows has a row, and so has every group of rules that the code speaks of."""
import json
import pathlib
import re
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "dockerfile.md"
RULES = REPOSITORY / "docs" / "dockerfile-rules.md"
PARSER = REPOSITORY / "parser"


def rows():
    """(what, rules, proof) of every table row."""
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        if line.startswith("| ") and len(cells) == 3 and cells[0] not in ("What", "Instruction, flag"):
            yield cells


def case_names(name):
    """The groups and ids of a file of cases."""
    cases = json.loads((REPOSITORY / "testdata" / "cases" / name).read_text())["cases"]
    return {case.get("group", "") for case in cases} | {case.get("id", "") for case in cases}


def missing(what, kind):
    """What of one proof, `what` with the words behind it, does not exist."""
    name, words = what
    words = [word for word in re.split(r"[ ,]+", words) if word]
    if name.endswith(".json"):
        names = case_names(name)
        return [f"{name} has no group or case {word}" for word in words if word not in names]
    if name.endswith("_test.py"):
        text = (REPOSITORY / "tests" / "integration" / name).read_text()
        tests = re.findall(r"@test\ndef (\w+)", text)
        return [f"{name} has no test with {word}" for word in words if not any(word in test for test in tests)]
    if name.endswith("_test.cc"):
        return [] if list((REPOSITORY / "tests" / "unit").glob(f"*/{name}")) else [f"there is no {name}"]
    found = list((REPOSITORY / "testdata" / "golden").glob(name))
    return [] if kind == "golden" and found else [f"there is no golden test {name}"]


def proof_mistakes(proof):
    mistakes, kind = [], ""
    parts = re.split(r"`([^`]+)`", proof)   # text, name, text, name, text…
    if len(parts) < 3:
        return [f"no test is named in: {proof!r}"]
    for i in range(1, len(parts), 2):
        before, after = parts[i - 1], parts[i + 1]
        found = re.search(r"\b(golden|unit)\s*$", before)
        kind = found.group(1) if found else kind
        words = re.sub(r"\b(golden|unit)\s*$", "", after)
        mistakes += missing((parts[i], words), kind)
    return mistakes


def known_words():
    """Keywords and flags as the parser's own tables list them."""
    keywords = re.search(r"kKeywords.*?= \{(.*?)\};", (PARSER / "statement.cc").read_text(), re.S)
    words = set(re.findall(r'"([A-Z]+)"', keywords.group(1) if keywords else (PARSER / "statement.cc").read_text()))
    flags = set()
    for name in ("parse_run.cc", "parse_copy.cc", "parse_from.cc"):
        flags |= {f"--{flag}" for flag in re.findall(r'\{"([a-z-]+)"(?:\}|, FlagKind)', (PARSER / name).read_text())}
    return words, flags


def rule_mistakes():
    """What is wrong with docs/dockerfile-rules.md, and how many rows it has."""
    mistakes, groups, count = [], set(), 0
    for line in RULES.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("| ") or len(cells) != 4 or cells[0] == "Rules":
            continue
        count += 1
        rules, code, proof, _ = cells
        groups |= set(re.findall(r"\b([A-Z]{3,4})-\d", rules))
        files = re.findall(r"`([^`]+)`", code)
        mistakes += [f"{rules}: there is no {name}" for name in files if not (REPOSITORY / name).is_file()] or ([] if files else [f"{rules}: no code"])
        mistakes += [f"{rules}: {mistake}" for mistake in proof_mistakes(proof)]
    spoken = set()
    for folder in ("parser", "builder"):
        for path in (REPOSITORY / folder).rglob("*.cc"):
            spoken |= set(re.findall(r"\b([A-Z]{3,4})-\d+\b", path.read_text()))
    known = {"PAR", "HDC", "VAR", "ARG", "CFG", "FROM", "RUN", "MNT", "CMD", "MET", "COPY", "ADD", "ONB", "STG", "CTX", "IGN", "CAC", "LNT", "SUB", "SDE", "PRG"}
    if len(spoken & known) < 15:
        mistakes.append("hardly any rule is named in the code: this test looks in the wrong place")
    mistakes += [f"no row for the rules {group}-…" for group in sorted(spoken & known - groups)]
    return mistakes, count


def main():
    mistakes, count = rule_mistakes()
    seen = ""
    for what, _, proof in rows():
        count += 1
        seen += what + "\n"
        mistakes += [f"{what}: {mistake}" for mistake in proof_mistakes(proof)]
    words, flags = known_words()
    if len(words) < 18 or len(flags) < 15 or count < 40:
        mistakes.append(f"only {len(words)} keywords, {len(flags)} flags and {count} rows were found: this test looks in the wrong place")
    mistakes += [f"{word} has no row" for word in sorted(words | flags) if not re.search(rf"{re.escape(word)}(?![a-z-])", seen)]
    print("".join(f"FAIL {mistake}\n" for mistake in mistakes) + f"{count} passed, {len(mistakes)} failed")
    sys.exit(1 if mistakes else 0)


if __name__ == "__main__":
    main()
