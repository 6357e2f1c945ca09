#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "builder/resource_limits.h"

namespace imgbuild::builder {

class Secret;

/// What the sandbox mounts as the root of a RUN: an overlay of these directories, or `root_dir`. Descriptors
/// are O_PATH or O_RDONLY directories and belong to the snapshot, not to the spec.
struct RootfsSpec {
  int root_dir = -1;            ///< a directory that is the whole root; there is no overlay then
  std::vector<int> lower_dirs;  ///< top first, at least one (an empty directory for scratch)
  int upper_dir = -1;           ///< fresh and empty (SBX-36)
  int work_dir = -1;
};

/// A file or directory from outside attached inside. Data only.
struct SandboxMount {
  enum class Kind {
    bind,  ///< directory or file behind `source_fd`
    tmpfs,
    file,     ///< `content` as a read-only file on a private tmpfs (secrets, heredoc scripts)
    overlay,  ///< merged view of `lower_dirs`, then `source_path` inside it: bind from a stage or image, and
              ///< every bind with rw. Read-only, or writable with the writes thrown away afterwards (SEC-37)
  };
  Kind kind = Kind::bind;
  std::string target;           ///< absolute, clean (SBX-58 is checked by the sandbox)
  int source_fd = -1;           ///< bind: O_PATH descriptor of a directory or regular file
  std::vector<int> lower_dirs;  ///< overlay: layer directories, top first, at least one
  bool private_copy = false;    ///< overlay: `lower_dirs` is one directory nobody else uses
  std::string
      source_path;      ///< overlay: resolved inside the merged view as in a chroot (MNT-26); "" is its root
  std::string content;  ///< file
  std::shared_ptr<const Secret> secret;  ///< file: its value is the content, kept out of ordinary memory
  bool read_only = true;
  bool no_exec = false;
  bool device = false;        ///< bind of a device node the build may use: below /dev, and it works there
  bool of_host = false;       ///< bind: of the machine's own files; others belong to the store
  std::uint32_t mode = 0644;  ///< file, tmpfs
  std::uint32_t uid = 0, gid = 0;  ///< file
  std::uint64_t size_bytes = 0;    ///< tmpfs; 0: kernel default
};

/// A resource limit as Docker names it ("nofile", "core"…). All bits set: unlimited.
struct Ulimit {
  std::string name;
  std::uint64_t soft = 0, hard = 0;
};

/// Everything about one RUN process, as data. Tests compare specs; one file makes the system calls.
struct SandboxSpec {
  RootfsSpec rootfs;
  std::vector<SandboxMount> mounts;  ///< attached parents first, whatever the order here (MNT-22)
  std::vector<std::string> argv;
  std::vector<std::string> env;   ///< "k=v"
  std::string working_dir = "/";  ///< created root 0755 (or owned by uid:gid) when missing (SBX-74)
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::uint32_t> extra_gids;
  std::string hostname = "buildkitsandbox";
  std::vector<std::pair<std::string, std::string>> extra_hosts;  ///< name, ip
  std::string ca_bundle;    ///< PEM, appended to the root's bundles while the command runs; empty: none
  std::string resolv_conf;  ///< content of /etc/resolv.conf
  enum class Network { host, none, joined } network = Network::host;
  int network_fd = -1;       ///< joined: the network namespace to enter; borrowed
  bool insecure = false;     ///< RUN --security=insecure
  bool filter_calls = true;  ///< load the system call filter (SBX-97)
  std::uint64_t shm_size_bytes = 64ull << 20;
  std::vector<Ulimit> ulimits;  ///< a limit that cannot be set is an error that names it
  ResourceLimits limits;        ///< one that cannot be had is an error that says what is missing (SBX-103)
  std::optional<std::chrono::nanoseconds> timeout;  ///< then it is asked to end, and killed (SBX-85)
};

struct SandboxResult {
  int exit_code = 0;  ///< 128+n when killed by signal n (SBX-81)
  bool timed_out = false;
  bool out_of_memory = false;
  bool limit_reached = false;  ///< the builder ended all of it because it used more than it may
  std::string limit_report;    ///< which limit was met, by whom, how much was used; empty when none was
  std::chrono::nanoseconds cpu_time{0};
  std::uint64_t peak_memory_bytes = 0;
  bool peak_is_total = false;    ///< of all processes together; else of the largest one
  bool peak_is_sampled = false;  ///< there may have been more between two looks
  /// Ready when the root is no longer mounted, which may take a while after a command that looked at many
  /// files; not valid when it is so already. To be waited for before the upper directory gets another use
  /// than being read; the destructor waits too.
  std::future<void> unmounted;
};

/// A killed process does not end: it hangs in the kernel. What it uses must be left where it is.
class StuckProcess : public Error {
 public:
  StuckProcess(int pid, std::string message) : Error(std::move(message), ExitCode::system), pid_(pid) {}
  int pid() const noexcept { return pid_; }  ///< 0: not known

 private:
  int pid_;
};

/// Runs commands so that they reach nothing of the host (sandbox-and-security.md part 1). Thread-safe:
/// several run() calls at once. `output` gets stream (1 or 2) and raw bytes, from one thread at a time per
/// run.
class Sandbox {
 public:
  virtual ~Sandbox() = default;
  /// Whether it attaches mounts. Where not, what is to be mounted is moved into the root for the time of the
  /// command, so one directory cannot serve two commands at once.
  virtual bool can_mount() const noexcept { return true; }
  /// What the user should know about how limits are kept here, at the first call; empty when the kernel keeps
  /// them. Throws UnsupportedError for one that cannot be kept at all (SBX-103).
  virtual std::string take_limits_notice(const ResourceLimits&) { return {}; }
  /// Returns when the command and everything it started are gone and the stubs of mounts are cleaned from the
  /// upper directory (SBX-54). Throws Error when the sandbox itself cannot be made (with stage and reason),
  /// Cancelled when `stop` was requested: then everything inside has ended. Throws StuckProcess when
  /// something inside cannot be killed.
  virtual SandboxResult run(const SandboxSpec& spec,
                            const std::function<void(int stream, std::string_view)>& output,
                            std::stop_token stop) = 0;
};

}  // namespace imgbuild::builder
