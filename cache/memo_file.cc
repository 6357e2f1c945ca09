#include "cache/memo_file.h"

#include <fcntl.h>
#include <libdeflate.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>
#include <utility>

#include "base/error.h"

namespace imgbuild::cache {

namespace {

struct Header {
  std::array<char, 8> magic{'i', 'm', 'g', 'b', 'm', 'e', 'm', 'o'};
  std::uint32_t byte_order = 0x01020304;  // a file of the other order reads as something else
  std::uint32_t version = 1;
  std::uint32_t generation = 0;
  std::uint32_t bucket_bits = 0;
  std::uint64_t entries = 0;
  std::uint32_t reserved = 0;
  std::uint32_t check = 0;  // CRC-32 of what is above
};
static_assert(sizeof(Header) == 40);

constexpr unsigned kMaxBucketBits = 28;
constexpr std::uint64_t kMaxEntries = 1u << 28;

std::uint32_t check_of(const void* bytes, std::size_t size) { return libdeflate_crc32(0, bytes, size); }

/// Buckets are 4 bytes each and one more than a power of two: rounded up so that the entries behind them are
/// aligned.
std::size_t buckets_size(unsigned bits) { return (((std::size_t{1} << bits) + 1) * 4 + 7) / 8 * 8; }

std::size_t bucket_of(std::uint64_t hash, unsigned bits) {
  return bits == 0 ? 0 : static_cast<std::size_t>(hash >> (64 - bits));
}

}  // namespace

MemoEntry MemoEntry::make(const FileIdentity& file, const Digest& digest, std::uint32_t generation) {
  MemoEntry entry;
  entry.device = file.device;
  entry.inode = file.inode;
  entry.size = file.size;
  entry.mtime_seconds = file.mtime.seconds;
  entry.ctime_seconds = file.ctime.seconds;
  entry.mtime_nanoseconds = file.mtime.nanoseconds;
  entry.ctime_nanoseconds = file.ctime.nanoseconds;
  entry.digest = digest.bytes();
  return entry.in_generation(generation);
}

MemoEntry MemoEntry::in_generation(std::uint32_t number) const {
  MemoEntry entry = *this;
  entry.generation = number;
  entry.check = check_of(&entry, offsetof(MemoEntry, check));
  return entry;
}

bool MemoEntry::intact() const noexcept { return check == check_of(this, offsetof(MemoEntry, check)); }

FileIdentity MemoEntry::identity() const noexcept {
  return {device, inode, size, {mtime_seconds, mtime_nanoseconds}, {ctime_seconds, ctime_nanoseconds}};
}

bool MemoEntry::is(const FileIdentity& file) const noexcept { return identity() == file; }

std::uint64_t memo_hash(std::uint64_t device, std::uint64_t inode) noexcept {
  // Inode numbers are dense; two rounds of multiply and shift spread them over the buckets.
  std::uint64_t mixed = inode + device * 0x9E3779B97F4A7C15u;
  mixed = (mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93u;
  mixed = (mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93u;
  return mixed ^ (mixed >> 32);
}

bool memo_order(const MemoEntry& a, const MemoEntry& b) noexcept {
  return std::tuple(memo_hash(a.device, a.inode), a.device, a.inode) <
         std::tuple(memo_hash(b.device, b.inode), b.device, b.inode);
}

MemoFile MemoFile::open(int dir, const std::string& name) {
  MemoFile file;
  const UniqueFd fd(::openat(dir, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return file;
  const auto length = static_cast<std::size_t>(info.st_size);
  if (length < sizeof(Header)) return file;
  void* const mapping = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (mapping == MAP_FAILED) return file;
  file.mapping_ = mapping;
  file.length_ = length;

  Header header;
  const Header expected;
  std::memcpy(&header, mapping, sizeof header);
  const bool known = header.magic == expected.magic && header.byte_order == expected.byte_order &&
                     header.version == expected.version &&
                     header.check == check_of(&header, offsetof(Header, check)) &&
                     header.bucket_bits <= kMaxBucketBits && header.entries <= kMaxEntries;
  if (!known) return file;
  const std::size_t entries_at = sizeof(Header) + buckets_size(header.bucket_bits);
  const auto count = static_cast<std::size_t>(header.entries);
  if (length != entries_at + count * sizeof(MemoEntry)) return file;

  const char* const bytes = static_cast<const char*>(mapping);
  file.generation_ = header.generation;
  file.bucket_bits_ = header.bucket_bits;
  file.buckets_ = {reinterpret_cast<const std::uint32_t*>(bytes + sizeof(Header)),
                   (std::size_t{1} << header.bucket_bits) + 1};
  file.entries_ = {reinterpret_cast<const MemoEntry*>(bytes + entries_at), count};
  return file;
}

MemoFile::MemoFile(MemoFile&& other) noexcept { *this = std::move(other); }

MemoFile& MemoFile::operator=(MemoFile&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(length_, other.length_);
  std::swap(generation_, other.generation_);
  std::swap(bucket_bits_, other.bucket_bits_);
  std::swap(buckets_, other.buckets_);
  std::swap(entries_, other.entries_);
  return *this;
}

MemoFile::~MemoFile() {
  if (mapping_ != nullptr) ::munmap(mapping_, length_);
}

std::optional<std::size_t> MemoFile::find(const FileIdentity& file) const noexcept {
  if (entries_.empty()) return std::nullopt;
  const std::size_t bucket = bucket_of(memo_hash(file.device, file.inode), bucket_bits_);
  // The numbers may be garbage after a crash, so they are only a hint of where to look.
  const std::size_t end = std::min<std::size_t>(buckets_[bucket + 1], entries_.size());
  for (std::size_t at = buckets_[bucket]; at < end; ++at) {
    const MemoEntry& entry = entries_[at];
    if (entry.inode == file.inode && entry.is(file) && entry.intact()) return at;
  }
  return std::nullopt;
}

std::string encode_memo(const std::vector<MemoEntry>& entries, std::uint32_t generation) {
  Header header;
  header.generation = generation;
  header.entries = entries.size();
  // About two entries a bucket.
  header.bucket_bits = entries.size() < 4 ? 0 : static_cast<unsigned>(std::bit_width(entries.size() / 2));
  header.bucket_bits = std::min(header.bucket_bits, kMaxBucketBits);
  header.check = check_of(&header, offsetof(Header, check));

  std::vector<std::uint32_t> buckets((std::size_t{1} << header.bucket_bits) + 1);
  for (const MemoEntry& entry : entries) {
    ++buckets[bucket_of(memo_hash(entry.device, entry.inode), header.bucket_bits) + 1];
  }
  for (std::size_t i = 1; i < buckets.size(); ++i) buckets[i] += buckets[i - 1];

  std::string bytes;
  bytes.reserve(sizeof header + buckets_size(header.bucket_bits) + entries.size() * sizeof(MemoEntry));
  bytes.append(reinterpret_cast<const char*>(&header), sizeof header);
  bytes.append(reinterpret_cast<const char*>(buckets.data()), buckets.size() * 4);
  bytes.resize(sizeof header + buckets_size(header.bucket_bits));
  bytes.append(reinterpret_cast<const char*>(entries.data()), entries.size() * sizeof(MemoEntry));
  return bytes;
}

}  // namespace imgbuild::cache
