#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace imgbuild::builder {

/// One process and what it uses, at one moment. Its numbers are those of our own /proc.
struct ProcessUse {
  pid_t pid = 0;
  pid_t parent = 0;              ///< that listed it
  std::uint64_t tasks = 0;       ///< threads; one that has ended and was not collected yet counts too
  std::uint64_t size_bytes = 0;  ///< of its address space
  std::uint64_t resident_bytes = 0;
  std::uint64_t shared_bytes = 0;  ///< of these, pages of files and of shared memory
};

/// What counting every page only once gives for one process.
struct ExactMemory {
  std::uint64_t private_bytes = 0;  ///< anonymous pages; one that n processes share counts 1/n for each
  std::uint64_t shared_bytes = 0;   ///< shared memory that is in no file, likewise
};

/// The processes that descend from one. In a process namespace those of its first process are all there are;
/// below a keeper (launcher/keeper.cc) as well, since orphans become its children. One thread.
class ProcessTree {
 public:
  /// Whether this kernel tells the children of a process (CONFIG_PROC_CHILDREN).
  static bool is_supported() noexcept;

  /// `root` itself counts unless it is only `keeper` of the others. Throws SystemError.
  ProcessTree(pid_t root, bool keeper);

  /// All there are now, but no more than it takes to have more than `most_tasks` threads. What starts or ends
  /// meanwhile may be missed. Throws SystemError when the machine is short of something. Valid until the next
  /// call.
  const std::vector<ProcessUse>& look(std::uint64_t most_tasks);

  /// The same pages in two processes (after vfork) are one's.
  bool share_memory(const ProcessUse& one, const ProcessUse& other) const noexcept;
  /// Takes about a millisecond for each few hundred megabytes. Where it may not be known, pages that
  /// processes share count for each.
  ExactMemory exact_memory(pid_t pid) const;
  /// "process 17 (cc1plus)", with its number inside the sandbox.
  std::string describe(pid_t pid) const;
  /// "cc1plus"; empty when it is gone.
  std::string name(pid_t pid) const;

 private:
  bool read_use(ProcessUse& process) const;
  void add_children(pid_t pid);
  void add_children_of_thread(pid_t pid, const char* thread);
  bool has_enough() const noexcept { return found_.size() > enough_; }
  std::string read(const std::string& name) const;

  const pid_t root_;
  const bool keeper_;
  const std::uint64_t page_size_;
  UniqueFd proc_;
  std::vector<ProcessUse> found_;
  std::uint64_t enough_ = 0;  ///< processes, for this look
};

}  // namespace imgbuild::builder
