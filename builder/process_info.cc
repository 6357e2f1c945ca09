#include "builder/process_info.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

namespace {

constexpr unsigned kSigterm = 15;

/// Files of /proc have no size; these are far shorter than this.
std::string read_proc(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(8192, '\0');
  const ssize_t size = file ? ::read(file.get(), text.data(), text.size()) : -1;
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

/// The value of "Key:\tvalue".
std::optional<std::string_view> field(std::string_view text, std::string_view key) {
  for (const auto line : split(text, '\n'))
    if (line.starts_with(key) && line.substr(key.size()).starts_with(":"))
      return trim(line.substr(key.size() + 1));
  return std::nullopt;
}

/// Masks of signals are 16 hexadecimal digits.
bool has_signal(std::string_view status, std::string_view key, unsigned signal) {
  const auto mask = field(status, key);
  std::uint64_t bits = 0;
  if (!mask || std::from_chars(mask->data(), mask->data() + mask->size(), bits, 16).ec != std::errc())
    return true;
  return (bits >> (signal - 1) & 1u) != 0;
}

}  // namespace

std::optional<pid_t> pid_of(int pidfd) {
  const std::string info = read_proc(cat("/proc/self/fdinfo/", pidfd));
  const auto text = field(info, "Pid");
  const auto number = text ? parse_decimal(*text) : std::nullopt;  // -1 when it is gone
  if (!number || *number == 0) return std::nullopt;
  return static_cast<pid_t>(*number);
}

bool notices_sigterm(std::string_view status) {
  return status.empty() || has_signal(status, "SigCgt", kSigterm) || has_signal(status, "SigBlk", kSigterm);
}

bool notices_sigterm(pid_t pid) {
  return notices_sigterm(std::string_view(read_proc(cat("/proc/", pid, "/status"))));
}

std::string process_state(pid_t pid) {
  const std::string status = read_proc(cat("/proc/", pid, "/status"));
  return std::string(field(status, "State").value_or(""));
}

std::optional<pid_t> process_parent(pid_t pid) {
  const std::string status = read_proc(cat("/proc/", pid, "/status"));
  const auto text = field(status, "PPid");
  const auto number = text ? parse_decimal(*text) : std::nullopt;
  if (!number || *number == 0) return std::nullopt;
  return static_cast<pid_t>(*number);
}

std::optional<std::uint64_t> process_start(pid_t pid) {
  const std::string stat = read_proc(cat("/proc/", pid, "/stat"));
  const auto name_end = stat.rfind(')');  // the name before it may hold anything
  if (name_end == std::string::npos) return std::nullopt;
  const auto fields = split(std::string_view(stat).substr(name_end + 1), ' ');
  constexpr std::size_t kState = 1, kStart = 20;  // the 3rd and the 22nd field; the name is the 2nd
  if (fields.size() > kState && (fields[kState] == "Z" || fields[kState] == "X"))
    return std::nullopt;  // dead
  return fields.size() > kStart ? parse_decimal(fields[kStart]) : std::nullopt;
}

}  // namespace imgbuild::builder
