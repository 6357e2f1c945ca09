#include "builder/linux_sandbox.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "tests/unit/builder/sandbox_bench.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using namespace imgbuild::tests;

TEST_CASE("a command runs as the first process, with its output and exit code") {
  if (cannot_run()) return;
  Bench bench;
  const auto result = bench.run("echo hello; echo oops >&2; echo $$; exit 7");
  CHECK(result.exit_code == 7);
  CHECK(bench.out == "hello\n1\n");
  CHECK(bench.errors == "oops\n");
}

TEST_CASE("commands run on overlays made as older kernels need it (SBX-31)") {
  if (cannot_run()) return;
  for (const auto naming : {LayerNaming::names, LayerNaming::joined, LayerNaming::classic}) {
    CAPTURE(static_cast<int>(naming));
    Bench bench({naming});
    auto spec = bench.spec("echo x > /made; rm /etc/passwd; echo y > /view/new; cat /view/new");
    spec.mounts.push_back({.kind = SandboxMount::Kind::overlay,
                           .target = "/view",
                           .lower_dirs = {bench.base()},
                           .source_path = "etc",
                           .read_only = false});
    CHECK(bench.run(spec).exit_code == 0);
    CHECK(bench.errors == "");
    CHECK(bench.out == "y\n");
    CHECK(exists(bench.upper(), "made"));
    CHECK_FALSE(exists(bench.base(), "etc/new"));
    struct stat info {};
    REQUIRE(::fstatat(bench.upper(), "etc/passwd", &info, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK(S_ISCHR(info.st_mode));
  }
}

TEST_CASE("what a command writes lands in the upper directory and nothing else does") {
  if (cannot_run()) return;
  Bench bench;
  CHECK(bench.run("echo x > /made; cat /etc/resolv.conf /etc/hosts; ls /proc/self >/dev/null").exit_code ==
        0);
  INFO(bench.errors);
  CHECK(bench.out.find("nameserver 192.0.2.1") != std::string::npos);
  CHECK(bench.out.find("buildkitsandbox") != std::string::npos);
  CHECK(exists(bench.upper(), "made"));
  for (const char* name : {"proc", "sys", "dev", "etc/hosts", "etc/resolv.conf"}) {
    CAPTURE(name);
    CHECK_FALSE(exists(bench.upper(), name));
  }
}

TEST_CASE("mount points an image lacks or deleted come and go without a trace") {
  if (cannot_run()) return;
  Bench bench;
  SUBCASE("an image without /etc") {
    REQUIRE(::unlinkat(bench.base(), "etc/passwd", 0) == 0);
    REQUIRE(::unlinkat(bench.base(), "etc", AT_REMOVEDIR) == 0);
    CHECK(bench.run("cat /etc/resolv.conf; ls /etc").exit_code == 0);
    CHECK(bench.out == "nameserver 192.0.2.1\nhosts\nresolv.conf\n");
    CHECK_FALSE(exists(bench.upper(), "etc"));
  }
  SUBCASE("an image whose layers deleted them") {
    if (tests::lacks_first_namespace()) return;  // who may make a whiteout by hand
    REQUIRE(::mknodat(bench.base(), "etc/hosts", S_IFCHR, 0) == 0);
    REQUIRE(::mknodat(bench.base(), "sys", S_IFCHR, 0) == 0);
    CHECK(bench.run("ls -d /sys/kernel /etc/hosts; rm /etc/hosts || true; test -s /etc/hosts").exit_code ==
          0);
    CHECK(bench.out == "/etc/hosts\n/sys/kernel\n");
    for (const char* name : {"etc/hosts", "sys"}) {
      CAPTURE(name);
      struct stat info {};  // nothing, or the mark that it is still gone
      if (::fstatat(bench.upper(), name, &info, AT_SYMLINK_NOFOLLOW) == 0) CHECK(S_ISCHR(info.st_mode));
    }
  }
}

TEST_CASE("a command that is missing gives 127, one that is no program 126") {
  if (cannot_run()) return;
  Bench bench;
  auto spec = bench.spec("");
  spec.argv = {"no-such-program", "x"};
  CHECK(bench.run(spec).exit_code == 127);
  CHECK(bench.errors.find("executable file not found in $PATH") != std::string::npos);
  bench.fresh();
  spec = bench.spec("");
  spec.argv = {"/etc/passwd"};
  CHECK(bench.run(spec).exit_code == 126);
}

TEST_CASE("the command sees fresh system directories and nothing of the host's") {
  if (cannot_run()) return;
  Bench bench;
  CHECK(bench
            .run("ls /dev; ls /proc | grep -c '^[0-9]'; hostname; readlink /dev/fd; echo x > /dev/null; "
                 "dd if=/dev/zero bs=1 count=1 2>/dev/null | wc -c; ls -a /dev/shm | wc -l")
            .exit_code == 0);
  CHECK(bench.errors.empty());
  CHECK(bench.out.find(
            "full\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n") !=
        std::string::npos);
  CHECK(bench.out.find("buildkitsandbox\n/proc/self/fd\n1\n2\n") != std::string::npos);
}

TEST_CASE("no descriptor, environment or capability of the builder is left (ATK-2, ATK-8)") {
  if (cannot_run()) return;
  Bench bench;
  CHECK(bench.run("ls /proc/self/fd; env; grep Cap /proc/self/status; umask").exit_code == 0);
  CAPTURE(bench.out);
  CHECK(bench.out.starts_with("0\n1\n2\n3\n"));  // 3 is the directory ls reads
  CHECK(bench.out.find("\n4\n") == std::string::npos);
  CHECK(bench.out.find("CapInh:\t0000000000000000\n") != std::string::npos);
  CHECK(bench.out.find("CapBnd:\t00000000a80425fb\n") != std::string::npos);
  CHECK(bench.out.find("CapEff:\t00000000a80425fb\n") != std::string::npos);
  CHECK(bench.out.find("CapAmb:\t0000000000000000\n") != std::string::npos);
  CHECK(bench.out.find("0022\n") != std::string::npos);
  auto spec = bench.spec("grep Cap /proc/self/status; id");
  spec.uid = 1000;
  spec.gid = 1000;
  spec.extra_gids = {1000, 27};
  bench.fresh();
  spec.rootfs = bench.spec("").rootfs;
  CHECK(bench.run(spec).exit_code == 0);
  CHECK(bench.out.find("CapEff:\t0000000000000000\n") != std::string::npos);
  CHECK(bench.out.find("CapPrm:\t0000000000000000\n") != std::string::npos);
  CHECK(bench.out.find("CapBnd:\t00000000a80425fb\n") != std::string::npos);
  CHECK(bench.out.find("uid=1000(app) gid=1000 groups=27,1000") != std::string::npos);
}

TEST_CASE("a working directory through a process's descriptors is refused (ATK-2)") {
  if (cannot_run()) return;
  Bench bench;
  for (const char* path : {"/proc/self/fd/3", "/proc/self/fd/8", "/proc/1/cwd", "/proc/self/root"}) {
    CAPTURE(path);
    auto spec = bench.spec("pwd");
    spec.working_dir = path;
    CHECK_THROWS_AS(bench.run(spec), Error);
    bench.fresh();
  }
}

TEST_CASE("a missing working directory is made for the user of the command") {
  if (cannot_run()) return;
  Bench bench;
  auto spec = bench.spec("pwd; stat -c %u:%a .; echo x > own");
  spec.working_dir = "/srv/app";
  spec.uid = 1000;
  CHECK(bench.run(spec).exit_code == 0);
  CHECK(bench.out == "/srv/app\n1000:755\n");
  CHECK(exists(bench.upper(), "srv/app/own"));
}

TEST_CASE("devices a command makes cannot be opened (ATK-12)") {
  if (cannot_run()) return;
  Bench bench;
  bench.run(
      "for d in / /dev /dev/shm /tmp; do for n in 'b 254 0' 'c 1 1' 'c 1 11' 'c 10 229'; do "
      "mknod $d/n $n 2>/dev/null; dd if=$d/n of=/dev/null bs=1 count=1 2>/dev/null && echo opened $d $n; rm "
      "-f $d/n; done; done");
  CHECK(bench.out == "");
}

TEST_CASE("control groups and kernel settings are read-only (ATK-9)") {
  if (cannot_run()) return;
  Bench bench;
  bench.run(
      "mkdir /sys/fs/cgroup/x 2>/dev/null && echo made; echo 1 2>/dev/null > /sys/fs/cgroup/cgroup.procs && "
      "echo joined; "
      "echo x 2>/dev/null > /proc/sys/kernel/hostname && echo named; echo b 2>/dev/null > "
      "/proc/sysrq-trigger && echo boom; "
      "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c");
  CHECK(bench.out == "0\n");
}

TEST_CASE("a command can make no namespaces and no mounts (ATK-10, ATK-14)") {
  if (cannot_run()) return;
  Bench bench;
  bench.run(
      "unshare -U true && echo userns; unshare -m true && echo mountns; mount -t tmpfs x /tmp && echo "
      "mounted");
  CHECK(bench.out == "");
  CHECK(bench.errors.find("not permitted") != std::string::npos);
}

TEST_CASE("nothing a command started outlives it (ATK-22)") {
  if (cannot_run()) return;
  Bench bench;
  CHECK(bench
            .run("(setsid sh -c 'while :; do echo x > /alive; done' >/dev/null 2>&1 &); while ! test -e "
                 "/alive; do :; done; echo done")
            .exit_code == 0);
  CHECK(bench.out == "done\n");
  REQUIRE(::unlinkat(bench.upper(), "alive", 0) == 0);
  ::usleep(50'000);
  CHECK_FALSE(exists(bench.upper(), "alive"));
}

TEST_CASE("a crash leaves no core file and its signal in the exit code (ATK-24)") {
  if (cannot_run()) return;
  Bench bench;
  CHECK(bench.run("sh -c 'kill -SEGV $$'; echo $?; ls").exit_code == 0);
  CHECK(bench.out.find("139\n") != std::string::npos);
  CHECK(bench.out.find("core") == std::string::npos);
}

TEST_CASE("limits are those of the command alone") {
  if (cannot_run()) return;
  Bench bench;
  auto spec = bench.spec("ulimit -Sn; ulimit -Hn; ulimit -Sf; ulimit -Hc");
  spec.ulimits = {{"nofile", 8, 16}, {"fsize", 2048, 4096}, {"core", 0, 0}};
  CHECK(bench.run(spec).exit_code == 0);
  CHECK(bench.errors == "");
  CHECK(bench.out == "8\n16\n4\n0\n");
  bench.fresh();
  CHECK(bench.run("ulimit -Sn").exit_code == 0);
  CHECK(bench.out != "8\n");
}

TEST_CASE("a limit that cannot be set is an error with its name") {
  if (cannot_run()) return;
  Bench bench;
  auto spec = bench.spec("true");
  spec.ulimits = {{"nofile", 1ull << 40, 1ull << 40}};  // above what even root may have
  CHECK_THROWS_WITH_AS(bench.run(spec), doctest::Contains("nofile"), SystemError);
  for (const Ulimit& wrong :
       {Ulimit{"files", 1, 1}, Ulimit{"", 1, 1}, Ulimit{"NOFILE", 1, 1}, Ulimit{"nofile", 2, 1}}) {
    CAPTURE(wrong.name);
    bench.fresh();
    spec.rootfs = bench.spec("").rootfs;
    spec.ulimits = {wrong};
    CHECK_THROWS_AS(bench.run(spec), Error);
  }
}

TEST_CASE("a command never runs without the AppArmor profile it was to have (SBX-98)") {
  if (cannot_run()) return;
  if (::access("/sys/kernel/security/apparmor/policy/profiles", F_OK) == 0) {
    std::puts("SKIPPED: the profile may be loaded here");
    return;
  }
  Bench bench;
  LinuxSandbox confined({.scratch_dir = bench.dir(),
                         .flavour = tests::overlay_flavour(),
                         .apparmor = {"attr/apparmor/exec", ""}});
  const auto ignore = [](int, std::string_view) {};
  auto spec = bench.spec("echo ran > /ran");
  CHECK_THROWS_WITH_AS(confined.run(spec, ignore, {}), doctest::Contains("AppArmor profile imgbuild-default"),
                       SystemError);
  CHECK_FALSE(exists(bench.upper(), "ran"));
  bench.fresh();
  spec.rootfs = bench.spec("").rootfs;
  spec.insecure = true;  // has no profile, as it has no filter
  CHECK(confined.run(spec, ignore, {}).exit_code == 0);
}

TEST_CASE("a command sees of a file from outside the flags of its mount and nothing else") {
  if (cannot_run()) return;
  Bench bench;
  auto spec = bench.spec(
      "mount | grep -e ' /secret ' -e ' /etc/hosts ' -e ' /program ' | sed 's/.*(//'; ls -ld /secret | cut "
      "-c1-10");
  spec.mounts.push_back(
      {.kind = SandboxMount::Kind::file, .target = "/secret", .content = "s", .no_exec = true, .mode = 0400});
  spec.mounts.push_back(
      {.kind = SandboxMount::Kind::file, .target = "/program", .content = "s", .mode = 0755});
  CHECK(bench.run(spec).exit_code == 0);
  CHECK(bench.out ==
        "ro,nosuid,nodev,noexec,relatime)\nro,nosuid,nodev,noexec,relatime)\nro,nosuid,nodev,relatime)\n-r---"
        "-----\n");
}

TEST_CASE("without a network there is only the loopback device") {
  if (cannot_run()) return;
  Bench bench;
  auto spec = bench.spec("ls /sys/class/net; cat /sys/class/net/lo/flags");
  spec.network = SandboxSpec::Network::none;
  CHECK(bench.run(spec).exit_code == 0);
  CHECK(bench.out == "lo\n0x9\n");
}

TEST_CASE("a stop request kills everything inside at once") {
  if (cannot_run()) return;
  Bench bench;
  std::stop_source stop;
  const auto begin = std::chrono::steady_clock::now();
  std::jthread stopper([&] {
    ::usleep(100'000);
    stop.request_stop();
  });
  CHECK_THROWS_AS(bench.run(bench.spec("sleep 1000 & sleep 1000"), stop.get_token()), Cancelled);
  CHECK(std::chrono::steady_clock::now() - begin <
        std::chrono::seconds(60));  // far less than the command wanted
}

TEST_CASE("a command that takes too long is stopped, at once when it cannot notice being asked") {
  if (cannot_run()) return;
  Bench bench;
  auto spec = bench.spec("sleep 1000");
  spec.timeout = std::chrono::milliseconds(50);
  const auto result = bench.run(spec);
  CHECK(result.timed_out);
  CHECK(result.exit_code == 137);
}

TEST_CASE("a command that notices being asked ends in its own way (SBX-85)") {
  if (cannot_run()) return;
  Bench bench;
  auto spec = bench.spec("trap 'echo bye; exit 3' TERM; sleep 1000 & wait");
  spec.timeout = std::chrono::milliseconds(300);
  const auto result = bench.run(spec);
  CHECK(result.timed_out);
  CHECK(result.exit_code == 3);
  CHECK(bench.out == "bye\n");
}

TEST_CASE("a command that does not want to end is killed after its grace (SBX-85)") {
  if (cannot_run()) return;
  Bench bench({}, {.timeout_grace = std::chrono::milliseconds(100)});
  auto spec = bench.spec("trap 'echo no' TERM; while :; do sleep 0.01; done");
  spec.timeout = std::chrono::milliseconds(300);
  const auto result = bench.run(spec);
  CHECK(result.timed_out);
  CHECK(result.exit_code == 137);
  CHECK(bench.out == "no\n");
}

TEST_CASE("a command has the limits of its control groups and sees them as its root (SBX-102)") {
  if (cannot_run() || tests::lacks_first_namespace()) return;
  if (!read_cgroup_paths().v1.contains("memory")) {
    std::puts("SKIPPED: needs version 1 control groups");
    return;
  }
  Bench bench;
  auto spec = bench.spec("cat /proc/self/cgroup | grep -E ':(memory|pids|cpuset):'");
  spec.limits = {.memory_bytes = 64 << 20, .cpu_shares = 512, .cpuset_cpus = "0", .pids = 50};
  const auto result = bench.run(spec);
  CHECK(result.exit_code == 0);
  CHECK(bench.errors == "");
  CHECK(bench.out.find(":memory:/\n") != std::string::npos);
  CHECK(bench.out.find(":pids:/\n") != std::string::npos);
  CHECK(bench.out.find("imgbuild") == std::string::npos);
  CHECK(result.peak_is_total);
  CHECK(result.peak_memory_bytes > 0);
  CHECK(result.peak_memory_bytes <= 64u << 20);
}

TEST_CASE("a command is born in its group of version 2 and counted there (SBX-20)") {
  if (cannot_run() || tests::lacks_first_namespace()) return;
  const auto paths = read_cgroup_paths();
  if (!paths.unified || !kernel_cgroup_files().is_writable(paths.unified->own)) {
    std::puts("SKIPPED: needs a writable version 2 control group");
    return;
  }
  Bench bench({}, {}, true);
  const auto result =
      bench.run("grep ^0: /proc/self/cgroup; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
  CHECK(result.exit_code == 0);
  CHECK(bench.out == "0::/\n");
  CHECK(result.cpu_time.count() > 0);
  for (const auto& name : kernel_cgroup_files().sub_dirs(paths.unified->own))
    CHECK_FALSE(name.starts_with("imgbuild-"));
}

TEST_CASE("an image that has the launcher executed again gains nothing (ATK-1)") {
  if (cannot_run()) return;
  Bench bench;
  write_all(open_at(bench.base(), "bin/evil", O_WRONLY | O_CREAT, 0755).get(), "#!/proc/self/exe\n");
  REQUIRE(::symlinkat("/proc/self/exe", bench.base(), "bin/again") == 0);
  for (const char* program : {"/bin/evil", "/bin/again"}) {
    CAPTURE(program);
    auto spec = bench.spec("");
    spec.argv = {program};
    CHECK(bench.run(spec).exit_code == 125);
    bench.fresh();
  }
}

TEST_CASE("a command whose output cannot be handed on is killed") {
  if (cannot_run()) return;
  Bench bench;
  CHECK_THROWS_AS(bench.sandbox().run(bench.spec("echo x; while :; do echo x > /alive; done"),
                                      [](int, std::string_view) { throw Error("no room"); }, {}),
                  Error);
  static_cast<void>(::unlinkat(bench.upper(), "alive", 0));
  ::usleep(50'000);
  CHECK_FALSE(exists(bench.upper(), "alive"));
}

TEST_CASE("several commands run at once") {
  if (cannot_run()) return;
  Bench bench;
  std::vector<SandboxSpec> specs;
  std::vector<UniqueFd> held;
  for (int i = 0; i < 8; ++i) {
    auto spec = bench.spec(cat("echo ", i, " > /mine; cat /mine; exit ", i));
    held.push_back(UniqueFd(::dup(spec.rootfs.upper_dir)));
    spec.rootfs.upper_dir = held.back().get();
    held.push_back(UniqueFd(::dup(spec.rootfs.work_dir)));
    spec.rootfs.work_dir = held.back().get();
    specs.push_back(spec);
    bench.fresh();
  }
  std::vector<std::string> outputs(specs.size());
  std::vector<int> codes(specs.size(), -1);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      threads.emplace_back([&, i] {
        codes[i] = bench.sandbox()
                       .run(specs[i], [&, i](int, std::string_view bytes) { outputs[i] += bytes; }, {})
                       .exit_code;
      });
    }
  }
  for (std::size_t i = 0; i < specs.size(); ++i) {
    CHECK(codes[i] == static_cast<int>(i));
    CHECK(outputs[i] == cat(i, "\n"));
  }
}
