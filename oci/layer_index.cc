#include "oci/layer_index.h"

#include <libdeflate.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::oci {

namespace {

// docs/formats/layer-index.md describes the bytes.
constexpr std::string_view kMagic = "imgblidx";
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kHeaderSize = kMagic.size() + 1 + 4;  // magic, version, CRC-32 of what follows

// The first byte of an entry: kind in bits 0-1, file type in bits 2-4, then what else follows.
constexpr unsigned kTypeShift = 2;
constexpr unsigned kHasNanoseconds = 1u << 5;
constexpr unsigned kHasXattrs = 1u << 6;
constexpr unsigned kHasContent = 1u << 7;

constexpr std::size_t kSmallestEntry = 3;  // flags, shared length, suffix length

class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}

  void byte(unsigned value) { out_ += static_cast<char>(value); }
  void number(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) byte(static_cast<unsigned>(value & 0x7F) | 0x80u);
    byte(static_cast<unsigned>(value));
  }
  void signed_number(std::int64_t value) {
    const auto bits = static_cast<std::uint64_t>(value);
    number(value < 0 ? ~(bits << 1) : bits << 1);
  }
  void text(std::string_view value) {
    number(value.size());
    out_ += value;
  }
  void digest(const Digest& value) {
    out_.append(reinterpret_cast<const char*>(value.bytes().data()), Digest::kSize);
  }

 private:
  std::string& out_;
};

[[noreturn]] void fail(std::string_view why) {
  throw IntegrityError(cat("a stored layer index is damaged: ", why));
}

class Decoder {
 public:
  explicit Decoder(std::string_view in) : in_(in) {}

  bool at_end() const noexcept { return in_.empty(); }
  std::size_t left() const noexcept { return in_.size(); }

  std::uint8_t byte() { return static_cast<std::uint8_t>(raw(1)[0]); }
  std::string_view raw(std::size_t count) {
    if (count > in_.size()) fail("it ends too early");
    const std::string_view taken = in_.substr(0, count);
    in_.remove_prefix(count);
    return taken;
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint8_t part = byte();
      if (shift == 63 && part > 1) fail("a number is too large");
      value |= static_cast<std::uint64_t>(part & 0x7F) << shift;
      if (part < 0x80) {
        if (part == 0 && shift > 0) fail("a number is written longer than needed");
        return value;
      }
    }
    fail("a number is too long");
  }
  std::uint32_t number32() {
    const std::uint64_t value = number();
    if (value > 0xFFFFFFFFu) fail("a number is too large");
    return static_cast<std::uint32_t>(value);
  }
  std::int64_t signed_number() {
    const std::uint64_t bits = number();
    return static_cast<std::int64_t>((bits & 1) != 0 ? ~(bits >> 1) : bits >> 1);
  }
  std::string_view text() {
    const std::uint64_t length = number();
    if (length > in_.size()) fail("a text ends too late");
    return raw(static_cast<std::size_t>(length));
  }
  Digest digest() {
    std::array<std::byte, Digest::kSize> bytes;
    std::memcpy(bytes.data(), raw(bytes.size()).data(), bytes.size());
    return Digest::from_bytes(bytes);
  }

 private:
  std::string_view in_;
};

std::size_t shared_prefix(std::string_view a, std::string_view b) {
  const auto [end, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  (void)other;
  return static_cast<std::size_t>(end - a.begin());
}

void encode_attributes(Encoder& out, const FileAttributes& a) {
  out.number(a.mode);
  out.number(a.uid);
  out.number(a.gid);
  out.signed_number(a.mtime.seconds);
  if (a.mtime.nanoseconds != 0) out.number(a.mtime.nanoseconds);
  if (a.type == FileType::regular) out.number(a.size);
  if (a.type == FileType::symlink) out.text(a.link_target);
  if (is_device(a.type)) {
    out.number(a.device_major);
    out.number(a.device_minor);
  }
  if (a.xattrs.empty()) return;
  out.number(a.xattrs.size());
  for (const auto& [name, value] : a.xattrs) {
    out.text(name);
    out.text(value);
  }
}

void decode_attributes(Decoder& in, unsigned flags, FileAttributes& a) {
  a.mode = in.number32();
  if (a.mode > 07777) fail("a mode is out of range");
  a.uid = in.number32();
  a.gid = in.number32();
  a.mtime.seconds = in.signed_number();
  if ((flags & kHasNanoseconds) != 0) {
    a.mtime.nanoseconds = in.number32();
    if (a.mtime.nanoseconds == 0 || a.mtime.nanoseconds > 999'999'999) fail("a time is out of range");
  }
  if (a.type == FileType::regular) a.size = in.number();
  if (a.type == FileType::symlink) a.link_target = in.text();
  if (is_device(a.type)) {
    a.device_major = in.number32();
    a.device_minor = in.number32();
  }
  if ((flags & kHasXattrs) == 0) return;
  const std::uint64_t count = in.number();
  if (count == 0) fail("an attribute list is empty");
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string_view name = in.text();
    const std::string_view value = in.text();
    if (!a.xattrs.empty() && name <= a.xattrs.last_name()) fail("attribute names are out of order");
    a.xattrs.add(name, std::string(value));
  }
}

void encode_entry(Encoder& out, const LayerEntry& entry, std::string_view previous_path) {
  const bool node = entry.kind == LayerEntry::Kind::node;
  unsigned flags = static_cast<unsigned>(entry.kind);
  if (node) {
    flags |= static_cast<unsigned>(entry.attributes.type) << kTypeShift;
    if (entry.attributes.mtime.nanoseconds != 0) flags |= kHasNanoseconds;
    if (!entry.attributes.xattrs.empty()) flags |= kHasXattrs;
    if (entry.content) flags |= kHasContent;
  }
  out.byte(flags);
  const std::size_t shared = shared_prefix(previous_path, entry.path);
  out.number(shared);
  out.text(std::string_view(entry.path).substr(shared));
  if (node) encode_attributes(out, entry.attributes);
  if (entry.kind == LayerEntry::Kind::hard_link) out.text(entry.hard_link_target);
  if ((flags & kHasContent) != 0) out.digest(*entry.content);
}

void decode_entry(Decoder& in, LayerEntry& entry, std::string_view previous_path) {
  const unsigned flags = in.byte();
  entry.kind = static_cast<LayerEntry::Kind>(flags & 3);
  const bool node = entry.kind == LayerEntry::Kind::node;
  if (!node && (flags >> kTypeShift) != 0) fail("an entry has impossible flags");
  const unsigned type = (flags >> kTypeShift) & 7;
  if (type > static_cast<unsigned>(FileType::fifo)) fail("an entry has an unknown type");
  entry.attributes.type = static_cast<FileType>(type);

  const std::uint64_t shared = in.number();
  if (shared > previous_path.size()) fail("a path shares more than there is");
  const std::string_view suffix = in.text();
  entry.path.reserve(static_cast<std::size_t>(shared) + suffix.size());
  entry.path.append(previous_path.substr(0, static_cast<std::size_t>(shared))).append(suffix);
  if (node) decode_attributes(in, flags, entry.attributes);
  if (entry.kind == LayerEntry::Kind::hard_link) entry.hard_link_target = in.text();
  if ((flags & kHasContent) != 0) entry.content = in.digest();
}

std::uint32_t checksum(std::string_view body) { return libdeflate_crc32(0, body.data(), body.size()); }

}  // namespace

std::string LayerIndex::serialize() const {
  std::string bytes(kMagic);
  bytes.reserve(kHeaderSize + entries.size() * 64);
  bytes += static_cast<char>(kVersion);
  bytes.append(4, '\0');
  Encoder out(bytes);
  out.number(entries.size());
  std::string_view previous;
  for (const auto& entry : entries) {
    encode_entry(out, entry, previous);
    previous = entry.path;
  }
  std::uint32_t crc = checksum(std::string_view(bytes).substr(kHeaderSize));
  for (std::size_t i = 0; i < 4; ++i, crc >>= 8) bytes[kMagic.size() + 1 + i] = static_cast<char>(crc & 0xFF);
  return bytes;
}

LayerIndex LayerIndex::parse(std::string_view bytes) {
  if (!bytes.starts_with(kMagic) || bytes.size() < kHeaderSize) fail("it does not start like one");
  if (static_cast<std::uint8_t>(bytes[kMagic.size()]) != kVersion) fail("it has another version");
  std::uint32_t expected = 0;
  for (std::size_t i = 4; i-- > 0;) {
    expected = expected << 8 | static_cast<std::uint8_t>(bytes[kMagic.size() + 1 + i]);
  }
  const std::string_view body = bytes.substr(kHeaderSize);
  if (checksum(body) != expected) fail("its checksum does not match");

  Decoder in(body);
  const std::uint64_t count = in.number();
  if (count > in.left() / kSmallestEntry) fail("it promises more entries than it holds");
  LayerIndex index;
  index.entries.resize(static_cast<std::size_t>(count));
  std::string_view previous;
  for (auto& entry : index.entries) {
    decode_entry(in, entry, previous);
    previous = entry.path;
  }
  if (!in.at_end()) fail("bytes follow its last entry");
  return index;
}

}  // namespace imgbuild::oci
