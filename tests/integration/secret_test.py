"""Secrets and ssh keys of RUN: where they come from, what covers them, what finds them where they must not be."""
import base64
import os
import pathlib
import socket
import struct
import subprocess
import threading
import time

from bases import client_base
from case_files import Image
from harness import PROGRAM, command, contains, equal, need, run, test

VALUE = "tr0ub4dor-and-3"
LONG = "".join(f"line {i}: {i * i * 7919:x} some text of a longer secret\n" for i in range(40))


def secret_context(w, body, name="context"):
    w.busybox()
    (w.path / "value").write_text(VALUE + "\n")
    (w.path / "long").write_text(LONG)
    return w.folder(name, {"Dockerfile": f"FROM busybox\n{body}\n"})


def shown(result):
    """Output of the steps, as one text."""
    return "".join(e["text"] for e in result.events if e["event"] == "step_output")


def store_bytes(w):
    for path in pathlib.Path(w.store).rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes()


def has_no_trace(w, value=VALUE):
    """Nothing in the store holds the value, in plain or packed (SEC-8)."""
    for path, content in store_bytes(w):
        if value.encode() in content:
            raise AssertionError(f"the secret is in {path}")
        for magic, tool in ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")):
            if content.startswith(magic) and value.encode() in command(need(tool), "-dc", str(path), ok=False).stdout:
                raise AssertionError(f"the secret is in {path}, packed")


@test
def secrets_come_from_files_variables_and_commands(w):
    context = secret_context(w, "RUN --mount=type=secret,id=a --mount=type=secret,id=b,env=B --mount=type=secret,id=c --mount=type=secret,id=d \\\n"
                                f" test \"$(cat /run/secrets/a | rev)\" = {VALUE[::-1]} && test \"$(echo $B | rev)\" = vne-morf && test \"$(rev < /run/secrets/c)\" = 'dnammoc ,morf' \\\n"
                                " && test \"$(wc -c < /run/secrets/c)\" = 13 && test \"$(rev < /run/secrets/d)\" = vne-morf")
    marker = w.path / "ran"
    options = ["--secret", f"id=a,src={w.path / 'value'}", "--secret", "id=b,env=VAR", "--secret",
               f'"command=echo from, command; echo >> {marker}",id=c', "--secret", "id=d,type=env,src=VAR"]
    w.build(context, *options, env={"VAR": "from-env"})
    equal(marker.read_text(), "\n", "runs of the command")
    # Unchanged: nothing runs, not even the secret's command, and another value is no other step (SEC-5).
    (w.path / "value").write_text("another-value")
    equal(w.build(context, *options, env={"VAR": "other"}).ran, [], "steps run again")
    equal(marker.read_text(), "\n", "runs of the command")


@test
def a_secret_whose_source_is_wrong_is_refused_atk_39(w):
    context = secret_context(w, "RUN --mount=type=secret,id=a true")
    os.mkfifo(w.path / "fifo")
    with open(w.path / "big", "wb") as big:
        big.truncate(1 << 30)
    os.symlink("value", w.path / "link")
    sources = [f"src={w.path / 'fifo'}", f"src={w.path}", f"src={w.path / 'big'}", f"src={w.path / 'nowhere'}", "src=/dev/zero",
               "env=NOT_SET", "command=exit 3", "command=head -c 600000 /dev/zero", "command=", "type=command", "src=a,env=b",
               "type=other", "unknown=x", "mode=0400"]
    for source in sources:
        result = w.build(context, "--secret", f"id=a,{source}", ok=False, timeout=60)
        equal(result.code != 0 and "a" in result.err, True, source)
    contains(w.build(context, "--secret", "id=a,command=exit 3", ok=False).err, "exit code 3")
    w.build(context, "--secret", f"id=a,src={w.path / 'link'}")  # the command line is trusted
    equal(w.run("build", *[f"--secret=id=s{i},src={w.path / 'value'}" for i in range(65)], context, ok=False).code, 2, "65 secrets")


@test
def a_secret_in_the_layer_fails_the_build_atk_38(w):
    leaks = {
        "plain": "cp /run/secrets/a /copy",
        "inside": "(echo before; tr -d '\\n' < /run/secrets/a; echo after) > /some-file",
        "name": "touch /$(cat /run/secrets/a)",
        "link": "ln -s $(cat /run/secrets/a) /l",
        "base64": "(printf x; cat /run/secrets/a) | base64 > /encoded",
        "base64-second": "(printf xy; cat /run/secrets/a) | base64 > /encoded",
        "base64-third": "(printf xyz; cat /run/secrets/a) | base64 > /encoded",
        "base64-lines": "base64 -w 5 /run/secrets/a > /encoded",
        "far": "(head -c 1000003 /dev/zero; cat /run/secrets/a; head -c 300000 /dev/zero) > /big",
        "long": "cp /run/secrets/l /copy",
        "part": "tail -n 30 /run/secrets/l > /part",
        "long-base64": "base64 /run/secrets/l > /encoded",
    }
    context = secret_context(w, "RUN true")
    secrets = ["--secret", f"id=a,src={w.path / 'value'}", "--secret", f"id=l,src={w.path / 'long'}"]
    for name, text in leaks.items():
        (context / "Dockerfile").write_text(f"FROM busybox\nRUN --mount=type=secret,id=a --mount=type=secret,id=l {text}\n")
        result = w.build(context, *secrets, ok=False)
        equal(result.code, 4, f"exit code of {name}")
        contains(result.err, 'secret "l" was found in' if "l" == name[:1] and name != "link" or name == "part" else 'secret "a" was found in')
        contains(result.err, "Dockerfile:2")
        equal(VALUE in result.err or "some text of a longer" in result.err, False, f"the value in the messages of {name}")
        has_no_trace(w)
    archive = w.path / "out.tar"
    w.build(context, *secrets, "--allow-secret-leak", "-o", archive)
    contains(base64.b64decode(Image(archive).read("/encoded")).decode(), "some text of a longer")


@test
def a_secret_in_the_output_is_covered_and_fails_the_build_atk_38(w):
    outputs = {"echo": "cat /run/secrets/a", "error": "cat /run/secrets/a >&2", "bytes": "for c in $(sed 's/./& /g' /run/secrets/a); do printf %s $c; sleep 0.01; done",
               "trace": "set -x; echo $A > /dev/null", "base64": "base64 /run/secrets/a"}
    context = secret_context(w, "RUN true")
    secret = ["--secret", f"id=a,src={w.path / 'value'}"]
    for name, text in outputs.items():
        (context / "Dockerfile").write_text(f"FROM busybox\nRUN --mount=type=secret,id=a --mount=type=secret,id=a,env=A {text}; echo end\n")
        result = w.build(context, *secret, ok=False)
        equal(result.code, 4, f"exit code of {name}")
        contains(result.err, "the output of this command")
        contains(shown(result), "***")
        contains(shown(result), "end")
        equal(VALUE in result.err or base64.b64encode(VALUE.encode()).decode()[:-2] in result.err, False, f"the value in {name}")
        accepted = w.build(context, *secret, "--allow-secret-leak", "--no-cache")
        contains(shown(accepted), "***")
        equal(VALUE in accepted.err, False, f"the value in the accepted {name}")


@test
def a_secret_in_the_configuration_fails_the_build_atk_38(w):
    places = [f"ENV TOKEN={VALUE}", f"LABEL token={VALUE}", f"CMD curl -H 'Token: {VALUE}' x", f"ARG T={VALUE}\nRUN true",
              f"ENV T={base64.b64encode(VALUE.encode()).decode()}", f"WORKDIR /{VALUE}", f"HEALTHCHECK CMD x {VALUE}", f"ONBUILD RUN echo {VALUE}"]
    context = secret_context(w, "")
    secret = ["--secret", f"id=a,src={w.path / 'value'}"]
    for place in places:
        (context / "Dockerfile").write_text(f"FROM busybox\nRUN --mount=type=secret,id=a true\n{place}\n")
        result = w.build(context, *secret, ok=False)
        equal(result.code, 4, f"exit code of {place}")
        contains(result.err, 'secret "a" was found in')
        # From the cache alike.
        equal(w.build(context, *secret, ok=False).code, 4, f"exit code of {place}, cached")
    w.build(context, *secret, "--allow-secret-leak")
    # One that no step mounts is not looked for, nor is one that is too short.
    (context / "Dockerfile").write_text(f"FROM busybox\nENV TOKEN={VALUE}\n")
    w.build(context, *secret)
    (w.path / "short").write_text("hello")
    (context / "Dockerfile").write_text("FROM busybox\nRUN --mount=type=secret,id=a cp /run/secrets/a /hello\nENV T=hello\n")
    w.build(context, "--secret", f"id=a,src={w.path / 'short'}")


@test
def a_used_secret_leaves_no_trace_atk_38(w):
    context = secret_context(w, "RUN --mount=type=secret,id=a,env=A --mount=type=secret,id=b cat /proc/self/environ /run/secrets/b > /dev/null; sleep 0.3\nRUN env > /env; ls /run > /run-files 2> /dev/null; true")
    metadata = w.path / "metadata.json"
    process = subprocess.Popen([PROGRAM, "build", "--debug", "--progress=plain", "--secret", "id=a,env=SECRET_VALUE", "--secret",
                                f"id=b,src={w.path / 'value'}", "--metadata-file", metadata, "-o", w.path / "out.tar", context],
                               env={**w.environment, "IMGBUILD_ROOT": str(w.store), "SECRET_VALUE": VALUE},
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    command_lines = set()
    while process.poll() is None:
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command_lines.add((entry / "cmdline").read_bytes())
                except OSError:
                    continue
        time.sleep(0.02)
    output = process.stdout.read()
    equal(process.returncode, 0, output.decode())
    equal(any(VALUE.encode() in line for line in command_lines), False, "the secret on a command line")
    equal(VALUE.encode() in output or VALUE in metadata.read_text(), False, "the secret in a message")
    image = Image(w.path / "out.tar")
    equal(VALUE in image.read("/env").decode() or VALUE in str(image.config), False, "the secret in the image")
    has_no_trace(w)


@test
def nobody_may_look_into_a_builder_with_secrets(w):
    context = secret_context(w, "RUN --mount=type=secret,id=a sleep 4.25")
    process = subprocess.Popen([PROGRAM, "build", "--secret", f"id=a,src={w.path / 'value'}", context],
                               env={**w.environment, "IMGBUILD_ROOT": str(w.store)}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not any(b"sleep\x004.25" in p.read_bytes() for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if p.exists()):
            equal(time.monotonic() < deadline, True, "the step runs")
            time.sleep(0.05)
        # Not dumpable: its files in /proc belong to root whoever runs it, and core dumps are not written (SEC-10).
        equal(command("sh", "-c", f"grep -c . /proc/{process.pid}/coredump_filter; setpriv --reuid=65534 --clear-groups cat "
                                  f"/proc/{process.pid}/environ", ok=False).returncode != 0, True, "environ is closed")
    finally:
        process.kill()
        process.wait()


def agent_request(body):
    return struct.pack(">I", len(body)) + body


@test
def a_key_file_serves_as_an_agent(w):
    need("ssh-keygen")
    need("ssh-add")
    w.busybox()
    client_base(w, "ssh-add", "ssh-keygen")
    keys = []
    for kind, more in (("ed25519", []), ("rsa", ["-b", "2048"]), ("rsa", ["-b", "2048", "-m", "PEM"]), ("rsa", ["-b", "2048", "-m", "PKCS8"]),
                       ("ecdsa", ["-b", "256"]), ("ecdsa", ["-b", "384"]), ("ecdsa", ["-b", "521"]), ("ecdsa", ["-b", "256", "-m", "PKCS8"])):
        path = w.path / f"key{len(keys)}"
        command("ssh-keygen", "-q", "-t", kind, *more, "-N", "", "-C", f"comment {len(keys)}", "-f", path)
        keys.append(path)
    publics = {f"key{i}.pub": (w.path / f"key{i}.pub").read_text() for i in range(len(keys))}
    context = w.folder("context", {"Dockerfile": "FROM client\nRUN mkdir -p /root /etc && echo root:x:0:0::/root:/bin/sh > /etc/passwd\nCOPY *.pub /keys/\n"
                                   "RUN --mount=type=ssh ssh-add -L | cut -d' ' -f1,2 | sort > /listed && for k in /keys/*.pub; do "
                                   "echo text > /t && ssh-keygen -q -Y sign -n file -f $k /t 2> /err || { cat /err; exit 1; }; "
                                   "ssh-keygen -Y check-novalidate -n file -s /t.sig < /t || exit 1; rm /t.sig; done\n"
                                   "RUN test ! -e /run/buildkit && test -z \"$SSH_AUTH_SOCK\"\n", **publics})
    archive = w.path / "out.tar"
    w.build(context, "--ssh", "default=" + ",".join(map(str, keys)), "-o", archive)
    expected = sorted(" ".join(text.split()[:2]) for text in publics.values())
    equal(Image(archive).read("/listed").decode().splitlines(), expected, "keys of the agent")
    for path in keys:
        private = [line for line in path.read_text().splitlines() if not line.startswith("-")][-2]   # further up the public key lies
        has_no_trace(w, private)


@test
def a_key_that_cannot_be_used_is_refused(w):
    need("ssh-keygen")
    context = secret_context(w, "RUN true")
    locked, locked_pem, damaged, small = (w.path / name for name in ("locked", "locked-pem", "damaged", "small"))
    command("ssh-keygen", "-q", "-t", "ed25519", "-N", "phrase", "-f", locked)
    command("ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "phrase", "-f", locked_pem)
    command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", damaged)
    lines = damaged.read_text().splitlines()
    lines[2] = lines[2][::-1]
    damaged.write_text("\n".join(lines))
    command("ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", small)
    for path, reason in ((locked, "has a passphrase"), (locked_pem, "has a passphrase"), (damaged, "is damaged"), (small, "shorter than 2048"),
                         (w.path / "value", "no private key"), (w.path / "nowhere", "cannot open"), ("/dev/null", "")):
        result = w.build(context, "--ssh", f"default={path}", ok=False, timeout=30)
        contains(result.err, reason)
        equal(VALUE in result.err, False, "content in the message")


@test
def an_agent_in_run_lets_only_listing_and_signing_pass_atk_40(w):
    """A client in RUN tries everything; the program is Python of this machine, on the socket through a cache of its own."""
    need("ssh-keygen")
    w.busybox()
    client_base(w, "ssh-add")
    key, other = w.path / "key", w.path / "other"
    for path in (key, other):
        command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
    context = w.folder("context", {"other": other.read_bytes(), "Dockerfile":
                                   "FROM client\nRUN mkdir -p /root && echo root:x:0:0::/root:/bin/sh > /etc/passwd\nCOPY --chmod=600 other /other\n"
                                   "RUN --mount=type=ssh ssh-add -q /other; echo add $? > /r; ssh-add -q -D; echo delete $? >> /r; "
                                   "ssh-add -q -t 60 /other; echo constrained $? >> /r; (echo p; echo p) | ssh-add -q -x; echo lock $? >> /r; "
                                   "ssh-add -q -s /lib/x.so < /dev/null; echo card $? >> /r; ssh-add -l | wc -l >> /r; "
                                   # Neither nonsense nor many connections at once end the service.
                                   "for i in $(seq 100); do head -c 3000 /dev/urandom | nc -w 1 local:$SSH_AUTH_SOCK > /dev/null 2>&1 & done; wait; "
                                   "printf '\\377\\377\\377\\377' | nc -w 1 local:$SSH_AUTH_SOCK; ssh-add -l | wc -l >> /r; echo $SSH_AUTH_SOCK > /socket\n"
                                   "RUN test ! -e $(cat /socket)\n"})
    archive = w.path / "out.tar"
    w.build(context, "--ssh", f"default={key}", "-o", archive)
    lines = Image(archive).read("/r").decode().split("\n")
    for line in lines[:5]:
        equal(line.split()[1] != "0", True, f"refused: {line}")
    equal(lines[5:7], ["1", "1"], "keys before and after")


if __name__ == "__main__":
    run()
