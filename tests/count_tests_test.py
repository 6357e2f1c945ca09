"""tools/count-tests: the counts a test run ends with, from logs as Meson writes them."""
import json
import pathlib
import subprocess
import sys
import tempfile

TOOL = pathlib.Path(__file__).resolve().parents[1] / "tools" / "count-tests"


def doctest(passed, failed, text=""):
    return f"{text}[doctest] test cases: {passed + failed:3} | {passed:3} passed | {failed} failed | 0 skipped\n"


CASES = [
    # (what, tests of the log, further logs, last line, exit code, words that stand before it)
    ("all is well", [("OK", doctest(3, 0)), ("OK", "x\n2 passed, 0 failed, 1 skipped\n"), ("OK", "")], [], "6 passed, 0 failed, 1 skipped", 0, []),
    ("a case of a unit test that cannot run here", [("OK", "SKIPPED: no root\n" + doctest(3, 0))], [], "2 passed, 0 failed, 1 skipped", 0, []),
    ("a case failed", [("FAIL", "=" * 79 + "\na.cc:3: ERROR: CHECK( a == b )\n" + doctest(1, 1))], [], "1 passed, 1 failed, 0 skipped", 1, ["a.cc:3: ERROR"]),
    ("an integration case failed", [("FAIL", "ok   one (0.1s)\nFAIL two (0.1s)\nbecause\n1 passed, 1 failed, 0 skipped\n")], [],
     "1 passed, 1 failed, 0 skipped", 1, ["FAIL two", "because"]),
    ("a program crashed after its totals", [("FAIL", doctest(4, 0))], [], "4 passed, 1 failed, 0 skipped", 1, []),
    ("a program took too long", [("TIMEOUT", "half a line")], [], "0 passed, 1 failed, 0 skipped", 1, ["timeout", "half a line"]),
    ("a program that is skipped as a whole", [("OK", ""), ("SKIP", "")], [], "1 passed, 0 failed, 1 skipped", 0, []),
    ("nothing ran", [], [], "0 passed, 0 failed, 0 skipped", 1, []),
    ("another log", [("OK", "")], ["fuzz: 2 passed, 0 failed\n"], "3 passed, 0 failed, 0 skipped", 0, []),
    ("another log without totals", [("OK", "")], ["killed\n"], "1 passed, 1 failed, 0 skipped", 1, []),
]


def main():
    failed = 0
    for what, tests, more, last, code, words in CASES:
        with tempfile.TemporaryDirectory() as top:
            log = pathlib.Path(top, "log.json")
            log.write_text("".join(json.dumps({"name": f"t{i}", "result": result, "stdout": text}) + "\n" for i, (result, text) in enumerate(tests)))
            paths = [str(log)]
            for number, text in enumerate(more):
                pathlib.Path(top, str(number)).write_text(text)
                paths.append(str(pathlib.Path(top, str(number))))
            done = subprocess.run([sys.executable, str(TOOL), *paths], capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        if (lines[-1:], done.returncode) != ([last], code) or any(word not in done.stdout for word in words):
            failed += 1
            print(f"FAIL {what}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    print(f"{len(CASES) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
