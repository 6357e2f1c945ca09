#include "cache/record_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/dir_list.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "cache/record_codec.h"

namespace imgbuild::cache {

namespace {

constexpr std::uint64_t kMaxSlotBytes = 1u << 20;

bool is_hex(std::string_view text, std::size_t length) {
  return text.size() == length && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

/// Calls `visit` with each two-digit folder below `dir` and the 64-digit names in it.
void list_fan_out(int dir,
                  const std::function<void(int folder, const std::string& two, const DirEntry&)>& visit) {
  std::vector<std::string> folders;
  list_dir(dir, [&](const DirEntry& entry) {
    if (is_hex(entry.name, 2)) folders.push_back(entry.name);
  });
  for (const auto& two : folders) {
    const UniqueFd folder = open_at_if_exists(dir, two, O_RDONLY | O_DIRECTORY);
    if (!folder) continue;
    list_dir(folder.get(), [&](const DirEntry& entry) {
      if (is_hex(entry.name, 64)) visit(folder.get(), two, entry);
    });
  }
}

bool has_kept_key(int folder, const std::string& name, const std::function<bool(const Digest&)>& is_kept) {
  const UniqueFd file = open_at_if_exists(folder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file) return true;
  for (const auto line : split(read_file(file.get(), kMaxSlotBytes, "slot"), '\n')) {
    if (is_hex(line, 64) && is_kept(Digest::parse(cat("sha256:", line)))) return true;
  }
  return false;
}

}  // namespace

void list_record_files(int store_root, bool with_sizes, const std::function<void(const RecordFile&)>& visit) {
  const UniqueFd cache = open_at_if_exists(store_root, "cache", O_RDONLY | O_DIRECTORY);
  if (!cache) return;
  list_fan_out(cache.get(), [&](int folder, const std::string& two, const DirEntry& entry) {
    RecordFile file{.path = cat(two, "/", entry.name), .inode = entry.inode};
    struct stat info {};
    if (with_sizes && ::fstatat(folder, entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      file.disk_bytes = static_cast<std::uint64_t>(info.st_blocks) * 512;
      file.modified = info.st_mtim.tv_sec;
    }
    visit(file);
  });
}

std::optional<CacheRecord> read_record_file(int store_root, const RecordFile& file) {
  const UniqueFd fd =
      open_at_if_exists(store_root, cat("cache/", file.path), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) return std::nullopt;
  try {
    auto record = decode_record(read_file(fd.get(), kMaxRecordBytes, "record"));
    if (record && !file.path.ends_with(record->key.hex())) return std::nullopt;
    return record;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::uint64_t remove_empty_slots(int store_root, const std::function<bool(const Digest&)>& is_kept) {
  const UniqueFd slots = open_at_if_exists(store_root, "cache/slots", O_RDONLY | O_DIRECTORY);
  if (!slots) return 0;
  std::uint64_t freed = 0;
  list_fan_out(slots.get(), [&](int folder, const std::string&, const DirEntry& entry) {
    try {
      if (has_kept_key(folder, entry.name, is_kept)) return;
    } catch (const Error&) {
      // Unreadable: nothing finds a record through it.
    }
    const std::uint64_t size = DiskUsage().one(folder, entry.name);
    if (::unlinkat(folder, entry.name.c_str(), 0) == 0) freed += size;
  });
  return freed;
}

}  // namespace imgbuild::cache
