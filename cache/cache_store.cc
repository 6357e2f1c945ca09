#include "cache/cache_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "base/use_log.h"
#include "cache/record_codec.h"

namespace imgbuild::cache {

namespace {

constexpr std::size_t kMaxInputBytes = 1u << 20;  // longer inputs explain nothing to anybody
constexpr std::size_t kSlotLine = 65;             // 64 digits and a line end
constexpr std::size_t kSlotKeeps = 8;             // records found by a slot
constexpr std::uint64_t kSlotFileLimit = 1u << 20;
constexpr std::size_t kSlotTrimsAt = 64 * kSlotLine;

std::size_t input_bytes(const CacheRecord& record) {
  std::size_t total = 0;
  for (const KeyField& field : record.inputs) total += field.label.size() + field.value.size();
  return total;
}

/// The bytes of a file of ours, nothing when they cannot be had for whatever reason.
std::optional<std::string> read_if_readable(int dir, const std::string& path, std::uint64_t limit) {
  const UniqueFd fd(::openat(dir, path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!fd) return std::nullopt;
  try {
    return read_file(fd.get(), limit, path);
  } catch (const Error&) {
    return std::nullopt;
  }
}

class DiskCacheStore final : public CacheStore {
 public:
  DiskCacheStore(const StoreDir& store, UseLog* uses) : store_(store), uses_(uses) {
    ensure_dir_at(store.fd(), "cache", 0700);
    records_ = open_at(store.fd(), "cache", O_RDONLY | O_DIRECTORY);
    ensure_dir_at(records_.get(), "slots", 0700);
    slots_ = open_at(records_.get(), "slots", O_RDONLY | O_DIRECTORY);
  }

  std::optional<CacheRecord> find_record(const Digest& key) override {
    const std::string name = key.hex();
    const auto bytes = read_if_readable(records_.get(), cat(name.substr(0, 2), "/", name), kMaxRecordBytes);
    if (!bytes) return std::nullopt;
    auto record = decode_record(*bytes);
    if (record && record->key != key) return std::nullopt;
    if (record && uses_ != nullptr) uses_->note(key);
    return record;
  }

  void put_record(const CacheRecord& record) override {
    const std::string name = record.key.hex();
    const UniqueFd dir = fan_out(records_.get(), name);
    if (input_bytes(record) > kMaxInputBytes) {
      CacheRecord shorter = record;
      shorter.inputs.clear();
      store_.publish(dir.get(), name, encode_record(shorter));
    } else {
      store_.publish(dir.get(), name, encode_record(record));
    }
    if (!record.slot.empty()) add_to_slot(record);
    if (uses_ != nullptr) uses_->note(record.key);
  }

  std::vector<CacheRecord> find_by_slot(const std::string& slot) override {
    const std::string name = sha256(slot).hex();
    const auto bytes = read_if_readable(slots_.get(), cat(name.substr(0, 2), "/", name), kSlotFileLimit);
    if (!bytes) return {};
    std::vector<CacheRecord> records;
    for (const Digest& key : keys_of_slot(*bytes)) {
      auto record = find_record(key);
      if (record && record->slot == slot) records.push_back(std::move(*record));
    }
    return records;
  }

 private:
  static UniqueFd fan_out(int parent, const std::string& name) {
    const std::string two = name.substr(0, 2);
    ensure_dir_at(parent, two, 0700);
    return open_at(parent, two, O_RDONLY | O_DIRECTORY);
  }

  /// Distinct keys in the order they were last put, the latest kSlotKeeps of them. Lines that are no key are
  /// passed over.
  static std::vector<Digest> keys_of_slot(std::string_view bytes) {
    std::vector<Digest> latest_first;
    const auto lines = split(bytes, '\n');
    for (auto line = lines.rbegin(); line != lines.rend() && latest_first.size() < kSlotKeeps; ++line) {
      if (line->size() + 1 != kSlotLine) continue;
      try {
        const Digest key = Digest::parse(cat("sha256:", *line));
        if (std::find(latest_first.begin(), latest_first.end(), key) == latest_first.end())
          latest_first.push_back(key);
      } catch (const Error&) {
        continue;
      }
    }
    return {latest_first.rbegin(), latest_first.rend()};
  }

  /// One short append, which the kernel does not mix with another. Two builds that shorten the list at once
  /// may lose a line, which makes an explanation poorer and nothing else.
  void add_to_slot(const CacheRecord& record) {
    const std::string name = sha256(record.slot).hex();
    const UniqueFd dir = fan_out(slots_.get(), name);
    const UniqueFd fd = open_at(dir.get(), name, O_WRONLY | O_CREAT | O_APPEND, 0600);
    write_all(fd.get(), cat(record.key.hex(), "\n"), name);
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0 || static_cast<std::size_t>(info.st_size) < kSlotTrimsAt) return;
    const auto bytes = read_if_readable(dir.get(), name, kSlotFileLimit);
    std::string kept;
    for (const Digest& key : keys_of_slot(bytes.value_or(std::string()))) kept += cat(key.hex(), "\n");
    store_.publish(dir.get(), name, kept);
  }

  StoreDir store_;
  UniqueFd records_;
  UniqueFd slots_;
  UseLog* uses_;
};

}  // namespace

std::unique_ptr<CacheStore> open_cache_store(const StoreDir& store, UseLog* uses) {
  return std::make_unique<DiskCacheStore>(store, uses);
}

}  // namespace imgbuild::cache
