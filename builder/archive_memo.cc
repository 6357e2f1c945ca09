#include "builder/archive_memo.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

namespace {

constexpr const char* kName = "archives";
constexpr std::string_view kHead = "imgbuild archives 1\n";
constexpr std::size_t kMaxArchives = 32;  // the latest; a line takes up to 200 bytes
constexpr std::uint64_t kMaxText = 16 * 1024;

/// Everything that changes when the file gets other bytes.
std::string line_of(const struct stat& info, std::uint64_t epoch, const Digest& recipe) {
  return cat(info.st_dev, ' ', info.st_ino, ' ', info.st_size, ' ', info.st_mtim.tv_sec, ' ',
             info.st_mtim.tv_nsec, ' ', info.st_ctim.tv_sec, ' ', info.st_ctim.tv_nsec, ' ', epoch, ' ',
             recipe.hex());
}

/// "device inode ", how a line begins.
std::string file_part(std::string_view line) {
  return std::string(line.substr(0, line.find(' ', line.find(' ') + 1) + 1));
}

/// The lines, oldest first; none when the file is missing, damaged or of another version.
std::vector<std::string> read_lines(int store) {
  const UniqueFd file = open_at_if_exists(store, kName, O_RDONLY | O_NONBLOCK);
  if (!file) return {};
  const std::string text = read_file(file.get(), kMaxText, kName);
  const auto end = text.rfind("end ");
  if (!text.starts_with(kHead) || end == std::string::npos) return {};
  const std::string_view body = std::string_view(text).substr(0, end);
  if (text.substr(end) != cat("end ", sha256(body).hex(), "\n")) return {};
  std::vector<std::string> lines;
  for (const auto line : split(body.substr(kHead.size()), '\n'))
    if (!line.empty()) lines.emplace_back(line);
  return lines;
}

/// The clock of files stands still between ticks, this one does not: whatever is written later in this tick
/// gets the time of its beginning, which is another one.
bool set_fine_time(int fd) {
  struct timespec times[2] = {{0, UTIME_OMIT}, {}};
  return ::clock_gettime(CLOCK_REALTIME, &times[1]) == 0 && ::futimens(fd, times) == 0;
}

void put_line(const StoreDir& store, const std::string& line) {
  auto lines = read_lines(store.fd());
  const std::string same_file = file_part(line);
  std::erase_if(lines, [&](const std::string& known) { return known.starts_with(same_file); });
  lines.push_back(line);
  if (lines.size() > kMaxArchives) lines.erase(lines.begin());
  std::string text(kHead);
  for (const auto& known : lines) text += cat(known, "\n");
  text += cat("end ", sha256(text).hex(), "\n");
  store.publish(store.fd(), kName, text);
}

}  // namespace

bool ArchiveMemo::is_current(const std::string& path, const Digest& recipe) const noexcept {
  if (store_.fd() < 0) return false;
  try {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    struct stat info {};
    if (!file || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
    const auto lines = read_lines(store_.fd());
    if (std::find(lines.begin(), lines.end(), line_of(info, epoch_, recipe)) == lines.end()) return false;
    // Its time must be ours to set, and the line must follow it; else it is written again.
    remember(file.get(), recipe);
    return true;
  } catch (const Error&) {
    return false;
  }
}

void ArchiveMemo::remember(int fd, const Digest& recipe) const noexcept {
  if (store_.fd() < 0) return;
  try {
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return;
    if (!set_fine_time(fd) || ::fstat(fd, &info) != 0) return;
    put_line(store_, line_of(info, epoch_, recipe));
  } catch (const Error&) {
    // Then it is written again next time.
  }
}

}  // namespace imgbuild::builder
