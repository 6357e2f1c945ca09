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

#include "base/error.h"
#include "base/mount.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/sandbox_mounts.h"
#include "tests/support/busybox_root.h"
#include "tests/support/requires.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

/// A base directory, and an upper one for one run each time.
class Bench {
 public:
  Bench() : dir_(TempDir::create("/var/tmp", "imgbuild-sandbox-test-")) {
    ensure_dir_at(dir_.fd(), "base", 0755);
    ensure_dir_at(dir_.fd(), "scratch", 0700);
    base_ = open_at(dir_.fd(), "base", O_RDONLY | O_DIRECTORY);
    scratch_ = open_at(dir_.fd(), "scratch", O_RDONLY | O_DIRECTORY);
    tests::fill_busybox_root(base_.get());
    fresh();
    sandbox_ = std::make_unique<LinuxSandbox>(LinuxSandbox::Options{.scratch_dir = scratch_.get()});
  }
  void fresh() {
    const std::string number = cat(++count_);
    ensure_dir_at(dir_.fd(), cat("u", number), 0755);
    ensure_dir_at(dir_.fd(), cat("w", number), 0755);
    upper_ = open_at(dir_.fd(), cat("u", number), O_RDONLY | O_DIRECTORY);
    work_ = open_at(dir_.fd(), cat("w", number), O_RDONLY | O_DIRECTORY);
  }
  SandboxSpec spec(const std::string& script) {
    SandboxSpec made;
    made.rootfs = {{base_.get()}, upper_.get(), work_.get()};
    made.argv = {"/bin/sh", "-c", script};
    made.env = {"PATH=/bin", "HOME=/"};
    made.resolv_conf = "nameserver 192.0.2.1\n";
    return made;
  }
  /// Standard output; the errors of the command are appended.
  SandboxResult run(const SandboxSpec& wanted, std::stop_token stop = {}) {
    out.clear();
    errors.clear();
    return sandbox_->run(
        wanted, [&](int stream, std::string_view bytes) { (stream == 1 ? out : errors) += bytes; }, stop);
  }
  SandboxResult run(const std::string& script) { return run(spec(script)); }

  int base() const { return base_.get(); }
  int upper() const { return upper_.get(); }
  int dir() const { return dir_.fd(); }
  Sandbox& sandbox() { return *sandbox_; }
  std::string out, errors;

 private:
  TempDir dir_;
  UniqueFd base_, scratch_, upper_, work_;
  int count_ = 0;
  std::unique_ptr<LinuxSandbox> sandbox_;
};

bool exists(int dir, const char* name) {
  struct stat info {};
  return ::fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

bool cannot_run() {
  if (tests::lacks_root()) return true;
  if (tests::has_busybox()) return false;
  std::puts("skipped: needs a static busybox");
  return true;
}

}  // namespace

TEST_CASE("a command runs as the first process, with its output and exit code") {
  if (cannot_run()) return;
  Bench bench;
  const auto result = bench.run("echo hello; echo oops >&2; echo $$; exit 7");
  CHECK(result.exit_code == 7);
  CHECK(bench.out == "hello\n1\n");
  CHECK(bench.errors == "oops\n");
}

TEST_CASE("what a command writes lands in the upper directory and nothing else does") {
  if (cannot_run()) return;
  Bench bench;
  CHECK(bench.run("echo x > /made; cat /etc/resolv.conf /etc/hosts; ls /proc/self >/dev/null").exit_code == 0);
  INFO(bench.errors);
  CHECK(bench.out.find("nameserver 192.0.2.1") != std::string::npos);
  CHECK(bench.out.find("buildkitsandbox") != std::string::npos);
  CHECK(exists(bench.upper(), "made"));
  for (const char* name : {"proc", "sys", "dev", "etc/hosts", "etc/resolv.conf"}) {
    CAPTURE(name);
    CHECK_FALSE(exists(bench.upper(), name));
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
