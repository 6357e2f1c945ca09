#include "builder/oom_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>

#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kMostLog = 1u << 20;

/// The value of "key=value," in a line of the kernel.
std::string_view value_of(std::string_view line, std::string_view key) {
  const auto at = line.find(key);
  if (at == std::string_view::npos) return {};
  const auto rest = line.substr(at + key.size());
  return rest.substr(0, rest.find_first_of(",\n"));
}

}  // namespace

// "6,812,99,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,
// task=dd,pid=17,uid=0". The task's name is the command's own choice and may hold anything, commas and line
// feeds (as escapes) included, so the number is taken from the end.
std::string find_oom_victim(std::string_view log, std::string_view group) {
  std::string found;
  for (const auto line : split(log, '\n')) {
    if (line.find("oom-kill:") == std::string_view::npos) continue;
    const auto memcg = value_of(line, "oom_memcg=");
    const auto name_at = memcg.rfind('/');
    if (name_at == std::string_view::npos || memcg.substr(name_at + 1) != group) continue;
    const auto task_at = line.find(",task="), pid_at = line.rfind(",pid=");
    if (task_at == std::string_view::npos || pid_at == std::string_view::npos || pid_at < task_at) continue;
    const auto task = line.substr(task_at + 6, pid_at - task_at - 6);
    const auto pid = value_of(line.substr(pid_at), ",pid=");
    if (!parse_decimal(pid)) continue;
    found = cat("process ", pid, " (", printable(task), ")");
  }
  return found;
}

OomWatch::OomWatch() : log_(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {
  if (log_) ::lseek(log_.get(), 0, SEEK_END);
}

std::string OomWatch::victim(std::string_view group) const {
  if (!log_) return {};
  std::string log;
  char record[8192];
  while (log.size() < kMostLog) {
    const ssize_t size = ::read(log_.get(), record, sizeof record);
    if (size < 0 && (errno == EPIPE || errno == EINTR))
      continue;  // records were overwritten: go on with the oldest
    if (size <= 0) break;
    log.append(record, static_cast<std::size_t>(size));
  }
  return find_oom_victim(log, group);
}

}  // namespace imgbuild::builder
