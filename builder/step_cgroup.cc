#include "builder/step_cgroup.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"

namespace imgbuild::builder {

namespace {

constexpr std::string_view kPrefix = "imgbuild-";

/// "oom_kill 3" among lines of that form.
std::optional<std::uint64_t> counter(const std::optional<std::string>& text, std::string_view key) {
  if (!text) return std::nullopt;
  for (const auto line : split(*text, '\n')) {
    const auto fields = split(line, ' ');
    if (fields.size() == 2 && fields[0] == key) return parse_decimal(fields[1]);
  }
  return std::nullopt;
}

std::optional<std::uint64_t> number(const std::optional<std::string>& text) {
  return text ? parse_decimal(trim(*text)) : std::nullopt;
}

bool is_unified_needed(const CgroupPaths& paths, const std::vector<std::string>& controllers) {
  return paths.unified && std::none_of(controllers.begin(), controllers.end(),
                                       [&](const auto& controller) { return paths.v1.contains(controller); });
}

/// The option whose limit needs one of these controllers.
std::string option_of(const std::vector<CgroupSetting>& settings) {
  return settings.empty() ? std::string("a limit") : settings.front().option;
}

[[noreturn]] void cannot_apply(const std::string& option, const std::string& why) {
  throw LimitRefused(option, why);
}

/// Root of a user namespace that an ordinary user made is not root.
bool is_ordinary_user() {
  if (::geteuid() != 0) return true;
  const UniqueFd map(::open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC));
  char text[64];
  const ssize_t size = map ? ::read(map.get(), text, sizeof text) : 0;
  std::vector<std::string_view> words;
  for (const auto word : split({text, size > 0 ? static_cast<std::size_t>(size) : 0}, ' '))
    if (!word.empty()) words.push_back(word);
  return words.size() > 1 && words[0] == "0" && words[1] != "0";
}

}  // namespace

std::vector<std::string> delegation_advice() {
  if (is_ordinary_user())
    return {"under systemd: systemd-run --user --scope -p Delegate=yes -- imgbuild …",
            "and for the user's slice: Delegate=memory cpu cpuset pids"};
  return {"in a container: control groups must be mounted writable (docker run --privileged)",
          "under systemd: systemd-run --scope -p Delegate=yes -- imgbuild …"};
}

LimitRefused::LimitRefused(const std::string& option, std::string why)
    : UnsupportedError(cat(option, " cannot be applied: ", why)), why_(std::move(why)) {
  for (auto& line : delegation_advice()) add_note(std::move(line));
}

StepCgroup::~StepCgroup() {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  for (const auto& directory : directories_) {
    while (files_.remove_dir(directory) == EBUSY && std::chrono::steady_clock::now() < give_up)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

CgroupCounts StepCgroup::counts() const {
  CgroupCounts out;
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    const auto read = [&](const char* file) { return files_.read(cat(directories_[i], "/", file)); };
    const bool unified = unified_index_ == i;
    out.oom_kills += counter(read(unified ? "memory.events" : "memory.oom_control"), "oom_kill").value_or(0);
    out.refused_processes += counter(read("pids.events"), "max").value_or(0);
    if (const auto peak = number(read(unified ? "memory.peak" : "memory.max_usage_in_bytes")))
      out.peak_memory_bytes = peak;
    if (!unified) continue;
    if (const auto used = counter(read("cpu.stat"), "usage_usec"))
      out.cpu_time = std::chrono::microseconds(*used);
  }
  return out;
}

Cgroups::Cgroups(CgroupFiles& files, CgroupPaths paths)
    : files_(files), paths_(std::move(paths)), prefix_(cat(kPrefix, random_name(), "-")) {}

StepCgroup Cgroups::make(const ResourceLimits& limits, bool with_unified) {
  const std::lock_guard guard(mutex_);
  StepCgroup group(files_, {});
  group.name_ = cat(prefix_, ++count_);
  const auto settings = unified_settings(limits);
  const bool unified = is_unified_needed(paths_, controllers_of(settings));
  if (!settings.empty() && !unified) add_v1(group, limits);
  if (paths_.unified && (with_unified || (!settings.empty() && unified)))
    add_unified(group, unified ? limits : ResourceLimits{});
  return group;
}

void Cgroups::add_unified(StepCgroup& group, const ResourceLimits& limits) {
  const auto settings = unified_settings(limits);
  if (!base_) base_.emplace(files_, *paths_.unified);
  const auto found = base_->find(controllers_of(settings));
  if (found.directory.empty()) cannot_apply(option_of(settings), found.obstacle);
  group.unified_index_ = group.directories_.size();
  add(group, found.directory, settings);
  group.unified_ = files_.open(group.directories_.back(), O_RDONLY | O_DIRECTORY);
}

void Cgroups::add_v1(StepCgroup& group, const ResourceLimits& limits) {
  const auto settings = v1_settings(limits);
  std::vector<std::string> bases;  // controllers can share a hierarchy
  for (const auto& setting : settings) {
    const auto place = paths_.v1.find(setting.controller);
    if (place == paths_.v1.end())
      cannot_apply(setting.option, cat("no control group file system with the controller ",
                                       setting.controller, " is mounted here"));
    if (std::find(bases.begin(), bases.end(), place->second.own) == bases.end())
      bases.push_back(place->second.own);
  }
  for (const auto& base : bases) {
    std::vector<CgroupSetting> here;
    for (const auto& setting : settings)
      if (paths_.v1.at(setting.controller).own == base) here.push_back(setting);
    if (!files_.is_writable(base))
      cannot_apply(option_of(here), cat("the group ", base, " cannot be changed by this user"));
    add(group, base, here);
  }
}

void Cgroups::add(StepCgroup& group, const std::string& base, const std::vector<CgroupSetting>& settings) {
  sweep(base);
  const std::string directory = cat(base, "/", group.name_);
  if (const int failed = files_.make_dir(directory); failed != 0)
    cannot_apply(option_of(settings),
                 cat("no group can be made in ", base, ": ", to_lower(std::strerror(failed))));
  group.directories_.push_back(directory);
  UniqueFd lock = files_.open(directory, O_RDONLY | O_DIRECTORY);
  ::flock(lock.get(), LOCK_EX | LOCK_NB);
  group.locks_.push_back(std::move(lock));
  const auto controllers = controllers_of(settings);
  if (std::find(controllers.begin(), controllers.end(), "cpuset") != controllers.end())
    fill_cpuset(base, directory);
  for (const auto& setting : settings) {
    const int failed = files_.write(cat(directory, "/", setting.file), setting.value);
    if (failed == 0 || (setting.optional && (failed == ENOENT || failed == EACCES || failed == EOPNOTSUPP)))
      continue;
    if (failed == ENOENT)
      cannot_apply(setting.option,
                   cat("this kernel has no ", setting.file,
                       setting.option == "--memory-swap" ? " (it does not account for swap)" : ""));
    throw SystemError(failed, cat("set ", setting.option, " to"), setting.value);
  }
  group.joins_.push_back(files_.open(directory + "/cgroup.procs", O_WRONLY));
}

/// In version 1 a new group has no processors and no memory at all, and nobody could join it. In version 2
/// the file is there as well and its default is everything.
void Cgroups::fill_cpuset(const std::string& base, const std::string& directory) {
  if (paths_.unified && base.starts_with(paths_.unified->mount) && !paths_.v1.contains("cpuset")) return;
  for (const char* file : {"cpuset.mems", "cpuset.cpus"})
    if (const auto value = files_.read(cat(base, "/", file)))
      files_.write(cat(directory, "/", file), std::string(trim(*value)));
}

/// Removes what builders left that are gone: only groups with our prefix, without a process, that nobody
/// holds.
void Cgroups::sweep(const std::string& base) {
  if (std::find(swept_.begin(), swept_.end(), base) != swept_.end()) return;
  swept_.push_back(base);
  for (const auto& name : files_.sub_dirs(base)) {
    const std::string directory = cat(base, "/", name);
    if (!name.starts_with(kPrefix) || name.ends_with("-self")) continue;
    if (files_.read(directory + "/cgroup.procs").value_or("x") != "") continue;
    try {
      const UniqueFd lock = files_.open(directory, O_RDONLY | O_DIRECTORY);
      if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) files_.remove_dir(directory);
    } catch (const SystemError&) {
      // Somebody else removed it just now.
    }
  }
}

std::string describe_limit(const CgroupCounts& counts, const ResourceLimits& limits,
                           const std::string& victim) {
  std::string out;
  if (counts.oom_kills != 0 && limits.memory_bytes) {
    out = cat("the memory limit of ", human_size(*limits.memory_bytes), " (--memory) was reached");
    if (counts.peak_memory_bytes) out += cat(", peak ", human_size(*counts.peak_memory_bytes));
    out += cat(
        "; the kernel killed ",
        victim.empty() ? cat(counts.oom_kills, counts.oom_kills == 1 ? " process" : " processes") : victim);
  }
  if (counts.refused_processes != 0 && limits.pids)
    out +=
        cat(out.empty() ? "" : "; ", "the limit of ", *limits.pids, " processes (--pids-limit) was reached ",
            counts.refused_processes, counts.refused_processes == 1 ? " time" : " times");
  return out;
}

}  // namespace imgbuild::builder
