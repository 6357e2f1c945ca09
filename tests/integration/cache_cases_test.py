"""testdata/cases/cache.json: two builds each, and which steps of the second were taken from the cache."""
import shutil
import uuid

import harness
from case_files import flags_of, load, make_context
from harness import equal, run

DATA = load("cache")


def options_of(build, first):
    return build.get("options", first.get("options", []))


def run_case(case):
    def body(w):
        w.busybox()
        nonce = uuid.uuid4().hex
        first, second = case["first"], case["second"]
        context = w.path / "context"
        dockerfile = w.path / "Dockerfile"
        result = None
        for build in (first, second):
            text = build.get("dockerfile", first["dockerfile"])
            for number in ("@1", "@2"):
                text = text.replace(number, f"{nonce}{number[1]}")
            dockerfile.write_text(text)
            entries = build.get("context", first["context"]) + [{"path": "nonce", "content": nonce}]
            if context.exists():
                shutil.rmtree(context)
            make_context(context, entries)
            flags = ["-f", dockerfile, *flags_of(options_of(build, first))]
            for identity in ("s", "tok", "k"):
                secret = w.path / "secret"
                secret.write_text("first" if build is first else "second")
                flags += ["--secret", f"id={identity},src={secret}", "--allow-secret-leak"]
            result = w.build(context, *flags)
        actual = {label.split("] ", 1)[1]: how == "cached" for label, how in result.steps}
        expected = {step["step"]: step["cached"] for step in case["steps"]}
        for number in ("@1", "@2"):
            expected = {key.replace(number, f"{nonce}{number[1]}"): value for key, value in expected.items()}
        equal(actual, expected, "steps taken from the cache")
    body.__name__ = case["id"]
    return body


harness._tests.extend(run_case(case) for case in DATA["cases"])

if __name__ == "__main__":
    run()
