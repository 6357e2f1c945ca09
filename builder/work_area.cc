#include "builder/work_area.h"

#include <fcntl.h>

#include "base/error.h"
#include "base/strings.h"
#include "builder/process_info.h"

namespace imgbuild::builder {

namespace {

constexpr const char* kUser = "user";  ///< "pid start": the process this directory was left to

/// Whether the process a directory was left to is still there.
bool is_used(int work, const std::string& name) {
  try {
    const UniqueFd dir = open_at(work, name, O_RDONLY | O_DIRECTORY);
    const UniqueFd file = open_at_if_exists(dir.get(), kUser, O_RDONLY | O_NONBLOCK);
    if (!file) return false;
    const std::string text = read_file(file.get(), 100, kUser);
    const auto words = split(text, ' ');
    const auto pid = parse_decimal(words[0]);
    const auto start = words.size() == 2 ? parse_decimal(words[1]) : std::nullopt;
    return pid && start && *pid <= 0x7fffffff && process_start(static_cast<pid_t>(*pid)) == start;
  } catch (const Error&) {
    return false;  // a file, or a directory nobody was left in
  }
}

}  // namespace

void WorkArea::leave_to(int pid) noexcept {
  dir_.release();
  try {
    const auto start = pid > 0 ? process_start(pid) : std::nullopt;
    if (!start) return;
    const UniqueFd file = open_at(dir_.fd(), kUser, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    write_all(file.get(), cat(pid, " ", *start), kUser);
  } catch (const Error&) {
    // The next sweep takes the directory then; the process has lost its files at worst.
  }
}

int sweep_stale_work(const StoreDir& store) { return sweep_work(store, is_used); }

}  // namespace imgbuild::builder
