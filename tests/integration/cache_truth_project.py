"""The project that cache_truth_test.py changes: a Dockerfile as data, its context, and what its keys consist of."""
import fnmatch
import hashlib
import os
import shutil

EPOCH = "1700000000"   # before the times of all files: keys leave times out, so a kept layer may hold others (QRK-4)
# Everything a command can see and that a key has to know, without times.
REPORT = ("{ id; pwd; hostname; env; find /data /m -exec stat -c '%n %f %u %g %s' {} + ; find /data /m -type l -exec readlink {} + ;"
          " find /data /m -type f -exec md5sum {} + ; } 2>/dev/null | sort")


class Project:
    """A Dockerfile as data, its context and the options of the build."""

    def __init__(self):
        self.files = {"src/a.txt": ["f", 0o644, "red"], "src/b.log": ["f", 0o644, "green"], "src/sub/c.txt": ["f", 0o644, "blue"],
                      "src/link": ["l", 0o777, "a.txt"], "one": ["f", 0o644, "green"], "two": ["f", 0o755, "white"],
                      "other/x": ["f", 0o644, "red"]}
        self.ignore = []
        self.umask = 0o022
        self.modes = "disk"
        self.in_place = None   # a file that is to be overwritten where it is, with its old time
        self.env = {"COLOR": "red", "SHAPE": "round"}   # of the final stage, in order
        self.args = {"USED": "red"}
        self.unused_arg = "red"
        self.global_arg = "red"
        self.comment = "red"
        self.label = "red"
        self.workdir = "/w"
        self.user = ""
        self.builder_text = "red"
        self.run_text = "red"
        self.heredoc = "red"
        self.script = "red"
        self.copy_order = ["one", "two"]
        self.chmod = "0640"
        self.chown = ""
        self.mount_id = "id-red"
        self.exclude = ""
        self.destination = "/data/files/"
        self.link_destination = "/data/link/"
        self.bind_source = "src"
        self.secret = "red secret"
        self.options = {"platform": "linux/amd64", "hostname": "sandbox", "host-ip": "10.0.0.1", "host": "peer", "ulimit": "1024",
                        "network": "default", "shm": "64m"}

    # ---- as text

    def steps(self):
        """[(stage, kind, text of the line, inputs beside the parent)] of all steps, and all lines in between."""
        selected = self.selected
        env = [f"{k}={v}" for k, v in self.env.items()]
        used = f"USED={self.args['USED']}"
        run_options = (self.options["platform"], self.options["hostname"], self.options["host"], self.options["ulimit"],
                       self.options["network"], self.options["shm"])
        builder = [
            ("copy", "COPY src /data/src", (selected("src"), "src", "/data/src")),
            ("run", f"RUN {REPORT} > /built; : {self.builder_text}", ("/", "", (), run_options, self.builder_text)),
        ]
        flags = "".join([f"--chown={self.chown} " if self.chown else "", f"--exclude={self.exclude} " if self.exclude else ""])
        bind = self.selected(self.bind_source)
        final = [
            ("meta", f"LABEL l={self.label}", None),
            ("meta", "ENV " + " ".join(env), None),
            ("workdir", f"WORKDIR {self.workdir}", (self.workdir,)),
            ("copy", "COPY --from=builder /built /data/built", ("built", "/data/built")),
            ("copy", f"COPY {flags}{' '.join(self.copy_order)} {self.destination}",
             (tuple((name, selected(name)) for name in self.copy_order), self.owner(), self.exclude, self.destination)),
            ("copy", f"COPY --chmod={self.chmod} two /data/moded", (selected("two", int(self.chmod, 8)), self.chmod)),
            ("copy", f"COPY --link other {self.link_destination}", (selected("other"), "other", self.link_destination)),
            ("copy", f"COPY <<EOF /data/heredoc\n{self.heredoc}\nEOF", (self.heredoc,)),
            ("meta", "ARG USED", None),
            ("run", f"RUN --mount=type=bind,source={self.bind_source},target=/m --mount=type=secret,id=s,target=/s"
                    f" --mount=type=cache,id={self.mount_id},target=/c {REPORT} > /out/seen; : {self.run_text}",
             (self.workdir, self.user, tuple(env + [used]), run_options, self.run_text, bind)),
            ("run", f"RUN <<EOF\necho {self.script} > /out/script\nEOF", (self.workdir, self.user, tuple(env + [used]), run_options, self.script)),
        ]
        return builder, final

    def owner(self):
        return {"": "0:0", "root": "0:0"}.get(self.chown, self.chown)

    def dockerfile(self):
        builder, final = self.steps()
        lines = [f"ARG GLOBAL={self.global_arg}", f"# {self.comment}", "FROM base AS builder", *[text for _, text, _ in builder],
                 "FROM base"]
        lines += [text for _, text, _ in final]
        position = next(i for i, line in enumerate(lines) if line.startswith("RUN --mount"))
        if self.user:
            lines.insert(position, f"USER {self.user}")
        return "\n".join(lines) + "\n"

    # ---- what the rules say

    def ignored(self, path):
        hidden = False
        for pattern in self.ignore:
            negated, pattern = pattern.startswith("!"), pattern.lstrip("!")
            parts = path.split("/")
            if any(fnmatch.fnmatchcase("/".join(parts[:n]), pattern) for n in range(1, len(parts) + 1)):
                hidden = not negated
        return hidden

    def mode_of(self, mode):
        mode &= ~self.umask
        return (0o755 if mode & 0o100 else 0o644) if self.modes == "git" else mode

    def selected(self, source, mode=None):
        """The entries a source selects, as a key has to know them (CAC-22)."""
        everything = dict(self.files)
        for path in self.files:
            parts = path.split("/")
            everything.update({"/".join(parts[:n]): ["d", 0o755, ""] for n in range(1, len(parts))})
        entries = []
        for path, (kind, own_mode, data) in sorted(everything.items()):
            if path == source and kind == "d":
                continue   # its attributes do not reach the image (COPY-20)
            if (path == source or path.startswith(source + "/")) and not self.ignored(path):
                kept = "" if kind == "l" else self.mode_of(own_mode) if mode is None else mode
                entries.append((path[len(source):], kind, kept, data))
        return tuple(entries)

    def expected_keys(self, base, built):
        """A key for each step, in the order of the plan. `built` is the content of the file /built, as far as a key goes."""
        keys = []
        for stage in self.steps():
            parent = ("image", base, self.options["platform"])
            for kind, text, inputs in stage:
                if kind == "meta":
                    continue
                if text.startswith("COPY --from=builder"):
                    inputs = (*inputs, built)
                parent = hashlib.sha256(repr((kind, parent, inputs)).encode()).hexdigest()
                keys.append(parent)
        return keys

    # ---- on disk

    def write(self, top, clock, owner):
        if self.in_place and top.exists():
            path, self.in_place = top / self.in_place, None
            before = path.stat()
            with open(path, "r+", encoding="ascii") as file:
                file.write(self.files[str(path.relative_to(top))][2])
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            return
        if top.exists():
            shutil.rmtree(top)
        for path, (kind, mode, data) in self.files.items():
            target = top / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if kind == "l":
                target.symlink_to(data)
                continue
            target.write_text(data)
            os.chmod(target, mode & ~self.umask)
            os.setxattr(target, "user.note", str(clock).encode())   # of a context no key knows these (COPY-40)
            os.utime(target, (clock, clock))
        for directory, names, files in os.walk(top):
            for name in names:
                os.chmod(os.path.join(directory, name), 0o755 & ~self.umask)
            for name in names + files:
                os.chown(os.path.join(directory, name), owner, owner, follow_symlinks=False)
        (top / "Dockerfile").write_text(self.dockerfile())
        (top / ".dockerignore").write_text("".join(f"{p}\n" for p in self.ignore))

    def arguments(self):
        o = self.options
        return ["--platform", o["platform"], "--hostname", o["hostname"], "--add-host", f"{o['host']}:{o['host-ip']}", "--ulimit", f"nofile={o['ulimit']}",
                "--network", o["network"], "--shm-size", o["shm"], "--build-arg", f"USED={self.args['USED']}", "--build-arg", f"UNUSED={self.unused_arg}",
                "--source-date-epoch", EPOCH, "--context-modes", self.modes]
