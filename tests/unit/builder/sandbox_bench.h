#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/mount.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/linux_sandbox.h"
#include "builder/sandbox_mounts.h"
#include "tests/support/busybox_root.h"
#include "tests/support/requires.h"

/// What the tests of LinuxSandbox share, by what they look at: processes, rights and limits in
/// linux_sandbox_test.cc, mounts in linux_sandbox_mounts_test.cc.
namespace imgbuild::tests {

using namespace builder;

/// A base directory, and an upper one for one run each time.
class Bench {
 public:
  explicit Bench(OverlayMountOptions overlay = {}, StopTimes times = {}, bool unified_group = false)
      : dir_(TempDir::create("/var/tmp", "imgbuild-sandbox-test-")) {
    ensure_dir_at(dir_.fd(), "base", 0755);
    ensure_dir_at(dir_.fd(), "scratch", 0700);
    base_ = open_at(dir_.fd(), "base", O_RDONLY | O_DIRECTORY);
    scratch_ = open_at(dir_.fd(), "scratch", O_RDONLY | O_DIRECTORY);
    tests::fill_busybox_root(base_.get());
    fresh();
    sandbox_ = std::make_unique<LinuxSandbox>(LinuxSandbox::Options{.scratch_dir = scratch_.get(),
                                                                    .flavour = tests::overlay_flavour(),
                                                                    .overlay = overlay,
                                                                    .stop_times = times,
                                                                    .always_unified_group = unified_group});
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
    made.rootfs = {.lower_dirs = {base_.get()}, .upper_dir = upper_.get(), .work_dir = work_.get()};
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

inline bool exists(int dir, const char* name) {
  struct stat info {};
  return ::fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

inline bool cannot_run() {
  if (tests::lacks_root()) return true;
  if (tests::has_busybox()) return false;
  std::puts("SKIPPED: needs a static busybox");
  return true;
}

}  // namespace imgbuild::tests
