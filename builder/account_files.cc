#include "builder/account_files.h"

#include <limits>

#include "base/stream.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxFile = 10 << 20;
constexpr std::size_t kMaxLine = 64 << 10;

std::optional<std::uint32_t> parse_id(std::string_view text) {
  const auto number = parse_decimal(text);
  if (!number || *number >= std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

/// Calls `take` with the fields of every line that has at least `fields` of them.
template <typename Take>
void each_line(std::string_view text, std::size_t fields, const Take& take) {
  for (std::string_view line : split(text, '\n')) {
    if (line.size() > kMaxLine) continue;
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    const auto parts = split(line, ':');
    if (parts.size() >= fields && !parts[0].empty()) take(parts);
  }
}

}  // namespace

std::optional<std::string> read_account_file(const oci::FileTree& tree, ContentProvider& content,
                                             std::string_view path) {
  const auto node = tree.resolve(path).node;
  if (!node || node->attributes.type != oci::FileType::regular) return std::nullopt;
  if (node->attributes.size == 0 || !node->origin) return std::string();
  const auto source = content.open(*node->origin)();
  return read_all(*source, kMaxFile, path);
}

std::vector<PasswdEntry> parse_passwd(std::string_view text) {
  std::vector<PasswdEntry> entries;
  each_line(text, 4, [&](const std::vector<std::string_view>& parts) {
    const auto uid = parse_id(parts[2]);
    const auto gid = parse_id(parts[3]);
    if (!uid || !gid) return;
    entries.push_back({std::string(parts[0]), *uid, *gid, parts.size() > 5 ? std::string(parts[5]) : ""});
  });
  return entries;
}

std::vector<GroupEntry> parse_group(std::string_view text) {
  std::vector<GroupEntry> entries;
  each_line(text, 3, [&](const std::vector<std::string_view>& parts) {
    const auto gid = parse_id(parts[2]);
    if (!gid) return;
    GroupEntry entry{std::string(parts[0]), *gid, {}};
    if (parts.size() > 3) {
      for (const auto member : split(parts[3], ',')) {
        if (!member.empty()) entry.members.emplace_back(member);
      }
    }
    entries.push_back(std::move(entry));
  });
  return entries;
}

}  // namespace imgbuild::builder
