#include "builder/file_changes.h"

#include <array>
#include <map>

#include "base/hash.h"
#include "base/stream.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

using oci::FileAttributes;
using oci::FileType;
using oci::LayerEntry;

constexpr std::string_view type_name(FileType type) {
  constexpr std::array<std::string_view, 6> kNames{"file",         "directory", "symlink", "character device",
                                                   "block device", "fifo"};
  return kNames.at(static_cast<std::size_t>(type));
}

std::string octal(std::uint32_t mode) {
  std::string digits;
  for (; mode != 0; mode >>= 3) digits.insert(digits.begin(), static_cast<char>('0' + (mode & 7)));
  return cat("0", digits.empty() ? "000" : digits);
}

std::string became(std::string_view what, std::string_view before, std::string_view after) {
  return cat(what, " ", before, " became ", after);
}

/// The words of a field, split at most into type, mode, owner and the rest.
std::array<std::string_view, 4> field_words(std::string_view field) {
  std::array<std::string_view, 4> words{};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto space = field.find(' ');
    words[i] = field.substr(0, space);
    field = space == std::string_view::npos ? std::string_view() : field.substr(space + 1);
  }
  words[3] = field;
  return words;
}

std::string join_parts(const std::vector<std::string>& parts) { return join(parts, ", "); }

Digest digest_of(const oci::PendingEntry& pending) {
  if (pending.entry.content) return *pending.entry.content;
  if (!pending.open) return sha256("");
  NullSink nowhere;
  HashSink hash(nowhere);
  const auto source = pending.open();
  copy(*source, hash);
  return hash.digest();
}

bool same_content(const LayerEntry& before, const oci::PendingEntry& now) {
  if (now.entry.attributes.type != FileType::regular) return true;
  if (before.attributes.size != now.entry.attributes.size) return false;
  return !before.content || *before.content == digest_of(now);
}

FileChange compare_entries(const LayerEntry& before, const oci::PendingEntry& now) {
  const FileAttributes& a = before.attributes;
  const FileAttributes& b = now.entry.attributes;
  FileChange change{now.entry.path, {}, false};
  if (before.kind != now.entry.kind) {
    change.what = "is linked otherwise";
    return change;
  }
  if (a.type != b.type) {
    change.what = became("", type_name(a.type), type_name(b.type)).substr(1);
    return change;
  }
  std::vector<std::string> parts;
  if (!same_content(before, now)) parts.emplace_back("content changed");
  if (a.type == FileType::symlink && a.link_target != b.link_target)
    parts.push_back(became("target", printable(a.link_target), printable(b.link_target)));
  change.mode_only = parts.empty() && a.uid == b.uid && a.gid == b.gid && a.xattrs == b.xattrs;
  if (a.type != FileType::symlink && a.mode != b.mode)
    parts.push_back(became("mode", octal(a.mode), octal(b.mode)));
  if (a.uid != b.uid || a.gid != b.gid)
    parts.push_back(became("owner", cat(a.uid, ":", a.gid), cat(b.uid, ":", b.gid)));
  if (a.xattrs != b.xattrs) parts.emplace_back("extended attributes changed");
  change.mode_only = change.mode_only && !parts.empty();
  change.what = join_parts(parts);
  return change;
}

}  // namespace

FileChange compare_file_fields(std::string path, std::string_view before, std::string_view after) {
  FileChange change{std::move(path), {}, false};
  if (before.empty() || after.empty()) {
    change.what = before.empty() ? "new" : "gone";
    return change;
  }
  const auto a = field_words(before);
  const auto b = field_words(after);
  if (a[0] != b[0]) {
    change.what = became("", a[0], b[0]).substr(1);
    return change;
  }
  std::vector<std::string> parts;
  if (a[3] != b[3])
    parts.emplace_back(a[0] == "symlink" ? "target changed"
                       : a[0] == "file"  ? "content changed"
                                         : "attributes changed");
  change.mode_only = parts.empty() && a[2] == b[2];
  if (a[1] != b[1]) {
    const auto mode = [](std::string_view text) {
      return octal(static_cast<std::uint32_t>(parse_decimal(text).value_or(0)));
    };
    parts.push_back(became("mode", mode(a[1]), mode(b[1])));
  }
  if (a[2] != b[2]) parts.push_back(became("owner", a[2], b[2]));
  change.what = join_parts(parts);
  return change;
}

std::vector<FileChange> compare_files(const oci::LayerIndex& before,
                                      const std::vector<oci::PendingEntry>& now, std::size_t limit) {
  std::map<std::string_view, const LayerEntry*> known;
  for (const auto& entry : before.entries) known.emplace(entry.path, &entry);
  std::vector<FileChange> changes;
  for (const auto& pending : now) {
    if (changes.size() >= limit) return changes;
    const auto found = known.find(pending.entry.path);
    if (found == known.end()) {
      changes.push_back({pending.entry.path, "new", false});
      continue;
    }
    FileChange change = compare_entries(*found->second, pending);
    known.erase(found);
    if (!change.what.empty()) changes.push_back(std::move(change));
  }
  for (const auto& [path, entry] : known) {
    if (changes.size() >= limit) break;
    changes.push_back({std::string(path), "gone", false});
  }
  return changes;
}

}  // namespace imgbuild::builder
