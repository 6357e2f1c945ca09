#include "builder/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kMostProcesses = 200'000;

/// A process that is gone, or that we may not look at, is none of ours to report.
bool is_absence(int error_number) {
  return error_number == ENOENT || error_number == ESRCH || error_number == EACCES || error_number == EPERM;
}

/// "Key:   123 kB" among lines of that form.
std::uint64_t kilobytes(std::string_view text, std::string_view key, bool& found) {
  for (const auto line : split(text, '\n')) {
    if (!line.starts_with(key) || !line.substr(key.size()).starts_with(":")) continue;
    const auto value = trim(line.substr(key.size() + 1));
    const auto number = parse_decimal(value.substr(0, value.find(' ')));
    found = number.has_value();
    return number.value_or(0) * 1024;
  }
  found = false;
  return 0;
}

struct CloseDir {
  void operator()(DIR* dir) const noexcept { ::closedir(dir); }
};

}  // namespace

bool ProcessTree::is_supported() noexcept { return ::access("/proc/thread-self/children", R_OK) == 0; }

ProcessTree::ProcessTree(pid_t root, bool keeper)
    : root_(root),
      keeper_(keeper),
      page_size_(static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))),
      proc_(open_path("/proc", O_PATH | O_DIRECTORY)) {}

std::string ProcessTree::read(const std::string& name) const {
  const UniqueFd file(::openat(proc_.get(), name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && is_absence(errno)) return {};
  if (!file) throw SystemError(errno, "open", cat("/proc/", name));
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t size; (size = ::read(file.get(), part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(size));
  return text;
}

bool ProcessTree::read_use(ProcessUse& process) const {
  struct stat info {};
  // Its links are "." and ".." and one for each thread.
  if (::fstatat(proc_.get(), cat(process.pid, "/task").c_str(), &info, 0) != 0) {
    if (is_absence(errno)) return false;
    throw SystemError(errno, "stat", cat("/proc/", process.pid, "/task"));
  }
  process.tasks = info.st_nlink > 2 ? info.st_nlink - 2 : 1;
  const std::string text = read(cat(process.pid, "/statm"));
  const auto fields = split(text, ' ');
  if (fields.size() < 3) return false;
  const auto bytes = [&](std::string_view pages) { return parse_decimal(pages).value_or(0) * page_size_; };
  process.size_bytes = bytes(fields[0]);
  process.resident_bytes = bytes(fields[1]);
  process.shared_bytes = std::min(bytes(fields[2]), process.resident_bytes);
  return true;
}

void ProcessTree::add_children_of_thread(pid_t pid, const char* thread) {
  const std::string name = cat(pid, "/task/", thread, "/children");
  const UniqueFd file(::openat(proc_.get(), name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && is_absence(errno)) return;
  if (!file) throw SystemError(errno, "open", cat("/proc/", name));
  // In small parts: the kernel is slow at long lists that change meanwhile, and enough may be enough.
  std::array<char, 512> part;
  pid_t child = 0;
  for (ssize_t size; !has_enough() && (size = ::read(file.get(), part.data(), part.size())) > 0;) {
    for (const char digit : std::string_view(part.data(), static_cast<std::size_t>(size))) {
      if (digit >= '0' && digit <= '9') {
        child = child * 10 + (digit - '0');
      } else if (child > 0) {
        found_.push_back({.pid = child, .parent = pid, .tasks = 1});
        child = 0;
      }
    }
  }
}

void ProcessTree::add_children(pid_t pid) {
  const UniqueFd tasks(::openat(proc_.get(), cat(pid, "/task").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!tasks && is_absence(errno)) return;
  if (!tasks) throw SystemError(errno, "open", cat("/proc/", pid, "/task"));
  const std::unique_ptr<DIR, CloseDir> list(::fdopendir(tasks.duplicate().release()));
  if (!list) throw SystemError(errno, "list", cat("/proc/", pid, "/task"));
  while (const dirent* entry = has_enough() ? nullptr : ::readdir(list.get()))
    if (entry->d_name[0] != '.') add_children_of_thread(pid, entry->d_name);
}

const std::vector<ProcessUse>& ProcessTree::look(std::uint64_t most_tasks) {
  found_.clear();
  found_.push_back({.pid = root_});
  enough_ = std::min<std::uint64_t>(most_tasks, kMostProcesses) + (keeper_ ? 1 : 0);
  std::uint64_t tasks = 0;
  std::size_t looked = 0;
  for (; looked < found_.size() && tasks <= most_tasks && !has_enough(); ++looked) {
    ProcessUse process = found_[looked];
    if (!read_use(process)) process.tasks = 0;
    found_[looked] = process;
    const bool counts = looked != 0 || !keeper_;
    if (counts) tasks += process.tasks;
    if (process.tasks > 1)
      add_children(process.pid);
    else if (process.tasks == 1)
      add_children_of_thread(process.pid, cat(process.pid).c_str());
  }
  if (keeper_) found_.erase(found_.begin());
  std::erase_if(found_, [](const ProcessUse& process) { return process.tasks == 0; });
  // One whose parent ended while we looked may be listed twice.
  std::sort(found_.begin(), found_.end(), [](const auto& a, const auto& b) { return a.pid < b.pid; });
  const auto last =
      std::unique(found_.begin(), found_.end(), [](const auto& a, const auto& b) { return a.pid == b.pid; });
  found_.erase(last, found_.end());
  return found_;
}

bool ProcessTree::share_memory(const ProcessUse& one, const ProcessUse& other) const noexcept {
  if (one.size_bytes != other.size_bytes || one.size_bytes == 0) return false;
  const long order = ::syscall(SYS_kcmp, one.pid, other.pid, KCMP_VM, 0ul, 0ul);
  return order <= 0;  // who may not ask has the equal sizes to go by
}

ExactMemory ProcessTree::exact_memory(pid_t pid) const {
  ExactMemory out;
  bool has_private = false, has_shared = false;
  const std::string rollup = read(cat(pid, "/smaps_rollup"));
  out.private_bytes = kilobytes(rollup, "Pss_Anon", has_private);
  out.shared_bytes = kilobytes(rollup, "Pss_Shmem", has_shared);
  if (has_private && has_shared) return out;
  const std::string status = read(cat(pid, "/status"));
  out.private_bytes = kilobytes(status, "RssAnon", has_private);
  out.shared_bytes = kilobytes(status, "RssShmem", has_shared);
  return out;
}

std::string ProcessTree::name(pid_t pid) const { return std::string(trim(read(cat(pid, "/comm")))); }

std::string ProcessTree::describe(pid_t pid) const {
  const std::string status = read(cat(pid, "/status"));
  pid_t inside = pid;
  for (const auto line : split(status, '\n')) {
    if (!line.starts_with("NSpid:")) continue;
    const auto number = parse_decimal(line.substr(line.find_last_of(" \t") + 1));
    if (number) inside = static_cast<pid_t>(*number);
  }
  return cat("process ", inside, " (", printable(name(pid)), ")");
}

}  // namespace imgbuild::builder
