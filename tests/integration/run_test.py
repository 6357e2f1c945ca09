"""RUN against the real kernel: failures, cancelling, and that nothing is left behind."""
import os
import signal
import time

from case_files import Image
from harness import contains, equal, run, test
from processes import leftovers, mounts, processes_with, start_and_wait


@test
def a_failing_command_shows_its_line_its_output_and_its_exit_code(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN true\nRUN echo before; echo broken >&2; exit 42\n"})
    before = mounts()
    result = w.run("build", context, ok=False)
    equal(result.code, 4, "exit code")
    for part in ("exit code: 42", "Dockerfile:3", "| before", "| broken"):
        contains(result.err, part)
    equal(mounts(), before, "mounts")
    again = w.build(context, ok=False)
    equal([how for _, how in again.steps], ["cached", "failed"], "steps of the second try")


@test
def commands_that_cannot_start_say_why(w):
    w.busybox()
    for line, code in (('RUN ["/no/such/program"]', "exit code: 127"), ('RUN ["/etc/passwd"]', "exit code: 126")):
        result = w.run("build", w.folder("context", {"Dockerfile": f"FROM busybox\n{line}\n"}), ok=False)
        equal(result.code, 4, "exit code")
        contains(result.err, code)


@test
def a_layer_holds_what_the_command_changed_and_nothing_else(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN mkdir -p /a/b && echo x > /a/b/f && ln /a/b/f /a/g && "
                                                 "ln -s f /a/b/l && chmod 4755 /a/g\nRUN rm -r /a/b && rm /etc/group\nRUN true\n"})
    archive = w.path / "out.tar"
    w.build(context, "-o", archive)
    image = Image(archive)
    names = image.layer_names()[-3:]
    equal(names[0], ["/a/", "/a/b/", "/a/b/f", "/a/b/l", "/a/g"], "first layer")
    equal(names[1], ["/a/", "/a/.wh.b", "/etc/", "/etc/.wh.group"], "second layer")
    equal(names[2], [], "third layer")
    equal(image.rootfs()["/a/g"]["mode"], "4755", "mode")


@test
def ctrl_c_ends_everything_within_a_second_and_leaves_nothing(w):
    w.busybox()
    marker = f"37{os.getpid()}"
    context = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN trap '' TERM INT; sleep {marker} & sleep {marker}; sleep {marker}\n"})
    before = mounts()
    process = start_and_wait(w, context, marker)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, err = process.communicate(timeout=30)
    took = time.monotonic() - begin
    equal(process.returncode, 130, "exit code")
    equal([p for p in processes_with(f"sleep\0{marker}")], [], "processes left")
    equal(mounts(), before, "mounts")
    equal(leftovers(w.store), [], "leftovers in the store")
    print(f"     cancelled after {took:.2f}s")
    equal(w.build(w.folder("next", {"Dockerfile": "FROM busybox\nRUN true\n"})).code, 0, "next build")


@test
def killing_the_builder_leaves_no_process_and_the_next_build_is_right(w):
    w.busybox()
    marker = f"38{os.getpid()}"
    context = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN test -e /ok || sleep {marker}\n"})
    before = mounts()
    process = start_and_wait(w, context, marker)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 5
    while processes_with(f"sleep\0{marker}") and time.monotonic() < deadline:
        time.sleep(0.02)
    equal(processes_with(f"sleep\0{marker}"), [], "processes left")
    equal(mounts(), before, "mounts")
    w.build(w.folder("next", {"Dockerfile": "FROM busybox\nRUN true\n"}))
    equal(leftovers(w.store), [], "leftovers in the store")


@test
def cancelling_a_build_of_several_stages_stops_them_all(w):
    w.busybox()
    marker = f"39{os.getpid()}"
    stages = "".join(f"FROM busybox AS s{i}\nRUN sleep {marker}\n" for i in range(4))
    context = w.folder("context", {"Dockerfile": stages + "FROM busybox\n" + "".join(f"COPY --from=s{i} /etc /e{i}\n" for i in range(4))})
    failing = w.folder("failing", {"Dockerfile": "FROM busybox AS a\nRUN sleep 0.3; false\nFROM busybox AS b\n"
                                                 f"RUN sleep {marker}\nFROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n"})
    result = w.build(failing, ok=False)
    equal(result.code, 4, "exit code of the failure")
    equal(processes_with(f"sleep\0{marker}"), [], "processes left by the other stage")


@test
def caches_persist_and_stay_out_of_layers(w):
    w.busybox()
    archive = w.path / "out.tar"
    for number in (1, 2):
        context = w.folder("context", {"Dockerfile": f"FROM busybox\nRUN --mount=type=cache,target=/c echo {number} >> /c/f && cp /c/f /out\n"})
        w.build(context, "-o", archive)
    equal(Image(archive).read("/out"), b"1\n2\n", "content of the cache")
    equal(Image(archive).layer_names()[-1], ["/out"], "last layer")


@test
def a_mount_without_a_target_covers_the_working_directory(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nWORKDIR /src\nRUN touch made\n"
                                                 "RUN --mount=type=bind ls /src > /seen && cat data >> /seen\n"
                                                 "RUN ls /src >> /seen\n", "data": "of the context\n"})
    w.build(context, "-o", f"type=local,dest={w.path / 'out'}")
    equal((w.path / "out/seen").read_text(), "Dockerfile\ndata\nof the context\nmade\n", "what the commands saw")


@test
def a_mount_may_take_the_place_of_dev_shm(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\n"
                                                 "RUN --mount=type=tmpfs,target=/dev/shm,size=3m df -k /dev/shm | tail -n 1 > /size; touch /dev/shm/x\n"
                                                 "RUN --mount=type=cache,target=/dev/shm ls /dev/shm > /first; touch /dev/shm/kept\n"
                                                 "RUN --mount=type=cache,target=/dev/shm ls /dev/shm > /second\n"})
    w.build(context, "-o", f"type=local,dest={w.path / 'out'}")
    equal((w.path / "out/size").read_text().split()[1], "3072", "KiB of the file system")
    equal(((w.path / "out/first").read_text(), (w.path / "out/second").read_text()), ("", "kept\n"), "what the commands saw")
    equal(sorted(path.name for path in (w.path / "out/dev").iterdir()) if (w.path / "out/dev").exists() else [], [], "what is left in /dev")


@test
def what_a_bind_mount_shows_decides_whether_the_step_runs_again(w):
    w.busybox()
    files = {"Dockerfile": "FROM busybox\nRUN --mount=target=/src cat /src/used/f > /out\n", "used/f": "1", "other": "1"}
    context = w.folder("context", {**files, "Dockerfile": files["Dockerfile"].replace("target=/src", "source=used,target=/src/used")})
    w.build(context)
    (context / "other").write_text("2")
    equal(w.build(context).ran, [], "steps after a change elsewhere")
    (context / "used/f").write_text("2")
    equal(len(w.build(context).ran), 1, "steps after a change of what is mounted")


@test
def secrets_are_seen_by_the_command_and_by_nobody_else(w):
    w.busybox()
    canary = "canary-4711-abcdef"
    (w.path / "secret").write_text(canary)
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN --mount=type=secret,id=s,required test \"$(cat /run/secrets/s)\" = "
                                                 "\"$(cat /run/secrets/s)\" && wc -c < /run/secrets/s > /out\n"})
    archive = w.path / "out.tar"
    result = w.build(context, "--secret", f"id=s,src={w.path}/secret", "-o", archive)
    equal(Image(archive).read("/out"), f"{len(canary)}\n".encode(), "length of the secret")
    for path in [archive, *w.store.rglob("*")]:
        if path.is_file() and not path.is_symlink() and canary.encode() in path.read_bytes():
            raise AssertionError(f"the secret is in {path}")
    contains(w.run("build", context, "--no-cache", ok=False).err, "--secret id=s")


@test
def a_sandbox_shows_neither_host_files_nor_rights(w):
    w.busybox()
    context = w.folder("context", {"Dockerfile": "FROM busybox\nRUN grep -E '^Cap(Inh|Amb)' /proc/self/status | grep -v 0000000000000000 && exit 1; "
                                                 "test \"$(ls /proc/self/fd | wc -l)\" -le 4 && test ! -e /.imgbuild && "
                                                 "! mount -t tmpfs none /mnt 2>/dev/null && ! echo x > /proc/sysrq-trigger 2>/dev/null; "
                                                 "test $? = 0 && env | grep -v -E '^(PATH|HOME|PWD|SHLVL|OLDPWD)=' ; test $$ = 1\n"})
    w.build(context, env={"CANARY_VARIABLE": "must not be seen"})


@test
def an_image_may_have_more_layers_than_the_kernel_mounts_at_once(w):
    w.busybox()
    count = int(os.environ.get("IMGBUILD_DEEP_STEPS", "110"))  # 600 and more show it; less shows that layers are merged
    lines = ["RUN mkdir /d /gone && echo old > /d/replaced && ln -s d /link && echo x > /file"]
    lines += [f"RUN echo {i} > /d/{i} && echo {i} > /last" for i in range(count)]
    lines[40] = "RUN rm -r /gone /file && mkdir /file && echo new > /d/replaced && touch /file/inside"
    lines[80] = "RUN rm -r /d/1 /link && mkdir /link && chown 7:8 /d && mv /file /moved"
    context = w.folder("context", {"Dockerfile": "FROM busybox\n" + "\n".join(lines) + "\nRUN cat /d/replaced /last /d/99 > /seen; ls -d /d/1 /gone /file /moved/inside "
                                                 "/link >> /seen 2>/dev/null; stat -c %u:%g /d >> /seen; ls /d | wc -l >> /seen\n"})
    w.build(context, "-o", w.path / "out.tar")
    number = count - 1
    equal(Image(w.path / "out.tar").read("/seen").decode().split(),
          ["new", str(number), "99", "/link", "/moved/inside", "7:8", str(count + 1 - 3)], "what the last command saw")
    w.run("fsck")
    w.run("prune", "--all")
    equal(leftovers(w.store), [], "leftovers in the store")


if __name__ == "__main__":
    run()
