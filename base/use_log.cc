#include "base/use_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace imgbuild {

namespace {

const std::string kFile = "uses";
constexpr std::size_t kEntry = Digest::kSize + 8 + 4;
constexpr off_t kShortenAt = 1 << 20;   ///< and at every multiple
constexpr std::size_t kKept = 100'000;  ///< things remembered at most
constexpr std::uint64_t kFileLimit = 64u << 20;

std::uint32_t check_of(std::string_view bytes) {
  return static_cast<std::uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

template <typename Number>
void put(std::string& out, Number number) {
  for (std::size_t i = 0; i < sizeof number; ++i) out += static_cast<char>((number >> (8 * i)) & 0xFF);
}

std::uint64_t get(std::string_view bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) number = (number << 8) | static_cast<unsigned char>(bytes[i]);
  return number;
}

std::string encode(const Digest& what, std::int64_t seconds) {
  std::string out(reinterpret_cast<const char*>(what.bytes().data()), Digest::kSize);
  put(out, static_cast<std::uint64_t>(seconds));
  put(out, check_of(out));
  return out;
}

/// The entry at the start of `bytes`; nothing when it is none.
std::optional<std::pair<Digest, std::int64_t>> decode(std::string_view bytes) {
  const auto body = bytes.substr(0, Digest::kSize + 8);
  if (get(bytes.substr(body.size(), 4)) != check_of(body)) return std::nullopt;
  std::array<std::byte, Digest::kSize> raw;
  std::memcpy(raw.data(), body.data(), raw.size());
  return std::pair(Digest::from_bytes(raw), static_cast<std::int64_t>(get(body.substr(Digest::kSize))));
}

UseLog::Uses read_uses(std::string_view bytes) {
  UseLog::Uses uses;
  std::uint64_t order = 0;
  for (std::size_t at = 0; at + kEntry <= bytes.size();) {
    const auto entry = decode(bytes.substr(at, kEntry));
    // A full disk may have cut an entry: the next one begins somewhere behind it.
    at += entry ? kEntry : 1;
    if (!entry) continue;
    auto& use = uses[entry->first];
    use = {++order, std::max(use.seconds, entry->second)};
  }
  return uses;
}

/// Only the last use of each thing, as many as are kept, in their order.
std::string shortened(const UseLog::Uses& uses) {
  std::vector<std::pair<std::uint64_t, const UseLog::Uses::value_type*>> all;
  for (const auto& use : uses) all.emplace_back(use.second.order, &use);
  std::sort(all.begin(), all.end());
  if (all.size() > kKept / 2) all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(kKept / 2));
  std::string out;
  out.reserve(all.size() * kEntry);
  for (const auto& [order, use] : all) out += encode(use->first, use->second.seconds);
  return out;
}

}  // namespace

void UseLog::note(const Digest& what) {
  const std::lock_guard guard(mutex_);
  noted_.insert(what);
}

UseLog::Uses UseLog::read(int dir) {
  const UniqueFd file = open_at_if_exists(dir, kFile, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  return file ? read_uses(read_file(file.get(), kFileLimit, kFile)) : Uses();
}

void UseLog::append(const Timestamp& now) {
  std::string entries;
  for (const auto& what : noted_) entries += encode(what, now.seconds);
  const UniqueFd file = open_at(dir_.fd(), kFile, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, 0600);
  write_all(file.get(), entries, kFile);
  const off_t size = ::lseek(file.get(), 0, SEEK_CUR);
  // Once in a megabyte: a long file of different things cannot be shortened, and reading it takes a while.
  const off_t before = size - static_cast<off_t>(entries.size());
  if (size / kShortenAt == before / kShortenAt) return;
  // Two who shorten at once may lose entries of each other, which makes the order worse and nothing else.
  const Uses uses = read(dir_.fd());
  if (static_cast<off_t>(uses.size() * kEntry) > size / 2 && uses.size() < kKept) return;
  try {
    dir_.publish(dir_.fd(), kFile, shortened(uses));
  } catch (const Error&) {
    // It stays long.
  }
}

void UseLog::save(const Timestamp& now) noexcept {
  const std::lock_guard guard(mutex_);
  if (noted_.empty()) return;
  try {
    append(now);
  } catch (const std::exception&) {
    // Full or read-only: see above.
  }
  noted_.clear();
}

}  // namespace imgbuild
