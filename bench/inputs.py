"""The inputs of the scenarios. The same on every machine and at every time: all bytes come from a seeded generator."""
import glob
import os
import pathlib
import random
import shutil
import subprocess

MIB = 1 << 20


def _words(seed=1, count=5000):
    generator = random.Random(seed)
    letters = b"abcdefghijklmnopqrstuvwxyz"
    return [bytes(generator.choice(letters) for _ in range(generator.randint(2, 9))) for _ in range(count)]


def _mmdebstrap(tool, target):
    """A Debian root, from the package sources and with the proxies of this machine."""
    sources = sorted(glob.glob("/etc/apt/sources.list.d/*.sources")) + sorted(glob.glob("/etc/apt/sources.list"))
    hooks = []
    for path in sorted(glob.glob("/etc/apt/apt.conf.d/*")):
        if any(word in pathlib.Path(path).read_text(errors="replace") for word in ("Proxy", "Check-Valid-Until", "Check-Date")):
            hooks.append(f"--customize-hook=copy-in {path} /etc/apt/apt.conf.d")
    subprocess.run([tool, "--quiet", "--format=tar", "--variant=apt", '--aptopt=Acquire::Check-Valid-Until "false"', *hooks, "bookworm",
                    str(target), *sources], check=True)


class Inputs:
    """Makes an input when it is first asked for and keeps it below `top` for the next run."""

    def __init__(self, top):
        self.top = pathlib.Path(top)
        self.top.mkdir(parents=True, exist_ok=True)
        self._vocabulary = None

    def _make(self, name, make):
        """`make(directory)` fills a directory that gets its name when it is complete."""
        final = self.top / name
        if final.exists():
            return final
        partial = self.top / (name + ".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        make(partial)
        partial.rename(final)
        return final

    @property
    def vocabulary(self):
        if self._vocabulary is None:
            self._vocabulary = _words()
        return self._vocabulary

    def text(self, size, seed):
        """`size` bytes of words a text-like compressor gain can be had from."""
        generator = random.Random(seed)
        parts, have = [], 0
        while have < size:
            part = b" ".join(generator.choices(self.vocabulary, k=20000)) + b"\n"
            parts.append(part)
            have += len(part)
        return b"".join(parts)[:size]

    def log(self, size, seed):
        """`size` bytes of lines as a web service writes them."""
        generator = random.Random(seed)
        parts, have = [], 0
        milliseconds = seed * 1_000_000
        while have < size:
            milliseconds += generator.randrange(40)
            second, millisecond = divmod(milliseconds, 1000)
            word = generator.choice(self.vocabulary).decode()
            part = (f"2026-01-{1 + second // 86400 % 28:02}T{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}.{millisecond:03}Z "
                    f"web-{generator.randrange(12):02} INFO {generator.choice(('GET', 'GET', 'GET', 'POST', 'PUT'))} /api/v1/items/{word}/"
                    f"{generator.randrange(1_000_000)} {generator.choice((200, 200, 200, 200, 304, 404))} {generator.randrange(90_000)} bytes "
                    f"{generator.randrange(2000)} us\n").encode()
            parts.append(part)
            have += len(part)
        return b"".join(parts)[:size]

    def dockerfile(self, name, text):
        """A context that holds nothing but a Dockerfile."""
        return self._make(name, lambda top: (top / "Dockerfile").write_text(text))

    def long_dockerfile(self, kibibytes):
        """Stages of ordinary lines that the last one does not need: they are read and thrown away."""
        def make(top):
            lines = []
            size = 0
            for number in range(10 ** 6):
                if size >= kibibytes << 10:
                    break
                lines.append(f"FROM scratch AS part-{number}\n" if number % 100 == 0 else
                             f"ENV PART_{number}=\"/opt/part-{number}\" FLAGS=\"-O2 -g\"\n" if number % 5 == 1 else
                             f"COPY --chown=1000:1000 src/part-{number} ${{PREFIX:-/usr/local}}/src/\n" if number % 5 == 2 else
                             f"RUN set -eux; cd /usr/local/src/part-{number} && \\\n    make -j4 install && \\\n    rm -rf build\n")
                size += len(lines[-1])
            (top / "Dockerfile").write_text("".join(lines) + "FROM scratch\nLABEL a=b\n")
        return self._make(f"long-{kibibytes}", make)

    def busybox(self):
        program = shutil.which("busybox") or "/bin/busybox"

        def make(top):
            shutil.copy2(program, top / "busybox")
            (top / "Dockerfile").write_text('FROM scratch\nCOPY busybox /bin/busybox\n'
                                            'RUN ["/bin/busybox", "--install", "-s", "/bin"]\n')
        return self._make("busybox", make)

    def debian(self, archive=None):
        """A context whose image is a Debian root; nothing where there is neither mmdebstrap nor an archive of one."""
        if (self.top / "debian").exists():
            return self.top / "debian"
        tool = shutil.which("mmdebstrap")
        if archive is None and (tool is None or os.geteuid() != 0):
            return None

        def make(top):
            if archive is not None:
                shutil.copy2(archive, top / "debian.tar")
            else:
                _mmdebstrap(tool, top / "debian.tar")
            (top / "Dockerfile").write_text('FROM scratch\nADD debian.tar /\nCMD ["bash"]\n')
        return self._make("debian", make)

    def tiny(self):
        def make(top):
            (top / "Dockerfile").write_text("FROM busybox\nRUN echo hi > /hi\nCOPY file /file\n")
            (top / "file").write_text("x\n")
        return self._make("tiny", make)

    def tree(self, files, size=4096, name=None):
        """A context of `files` files of `size` bytes in folders of a hundred."""
        def make(top):
            data = self.text(size * 64 + files, 7)
            for number in range(files):
                folder = top / "src" / f"d{number // 10000}" / f"d{number // 100 % 100}"
                if number % 100 == 0:
                    folder.mkdir(parents=True, exist_ok=True)
                with open(folder / f"f{number % 100}", "wb") as out:
                    out.write(data[number:number + size])
            (top / "Dockerfile").write_text("FROM busybox\nCOPY src /src\n")
        return self._make(name or f"tree-{files}", make)

    def ignored_tree(self, files):
        """The context of `tree(files)` where everything but one small file is left out."""
        def make(top):
            os.rename(self._copy_links(self.tree(files, 1, f"tree-{files}-small"), top), top / "src")
            (top / ".dockerignore").write_text("*\n!keep\n")
            (top / "keep").write_text("kept\n")
            (top / "Dockerfile").write_text("FROM busybox\nCOPY . /all\n")
        return self._make(f"ignored-{files}", make)

    @staticmethod
    def _copy_links(tree, top):
        subprocess.run(["cp", "-al", str(tree / "src"), str(top / "linked")], check=True)
        return top / "linked"

    def one_file(self, kind, mebibytes):
        """A context with one large file: `kind` is text, log or random."""
        def make(top):
            with open(top / "file", "wb") as out:
                generator = random.Random(3)
                left = mebibytes * MIB
                seed = 0
                while left > 0:
                    size = min(left, 4 * MIB)
                    make_part = {"text": self.text, "log": self.log}.get(kind)
                    out.write(make_part(size, 1000 + seed) if make_part else generator.randbytes(size))
                    left -= size
                    seed += 1
            (top / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
        return self._make(f"{kind}-{mebibytes}", make)

    def steps(self, count):
        return self.dockerfile(f"steps-{count}", "FROM busybox\n" + "".join(f"RUN echo {i} > /f{i}\n" for i in range(count)))

    def many_files(self, count):
        return self.dockerfile(f"many-files-{count}",
                               f"FROM busybox\nRUN mkdir /d; i=0; while [ $i -lt {count} ]; do echo $i > /d/$i; i=$((i+1)); done\n")

    def stages(self, count, command="sleep 2"):
        name = f"stages-{count}-" + command.replace(" ", "-")
        text = "".join(f"FROM busybox AS s{i}\nRUN {command}; echo {i} > /o{i}\n" for i in range(count))
        return self.dockerfile(name, text + "FROM busybox\n" + "".join(f"COPY --from=s{i} /o{i} /\n" for i in range(count)))
