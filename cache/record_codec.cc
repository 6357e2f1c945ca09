#include "cache/record_codec.h"

#include <libdeflate.h>

#include <array>
#include <cstring>
#include <utility>

namespace imgbuild::cache {

namespace {

constexpr std::string_view kMagic = "imgbrec";
constexpr char kRecordVersion = 1;
constexpr std::size_t kHeaderSize = kMagic.size() + 1 + 4;  // magic, version, CRC-32 of what follows

std::uint32_t checksum(std::string_view bytes) { return libdeflate_crc32(0, bytes.data(), bytes.size()); }

class Encoder {
 public:
  void number(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7F) | 0x80);
    bytes_ += static_cast<char>(value);
  }
  void text(std::string_view value) {
    number(value.size());
    bytes_ += value;
  }
  void digest(const Digest& value) {
    bytes_.append(reinterpret_cast<const char*>(value.bytes().data()), Digest::kSize);
  }
  void time(const Timestamp& value) {
    const auto bits = static_cast<std::uint64_t>(value.seconds);
    number(value.seconds < 0 ? ~(bits << 1) : bits << 1);
    number(value.nanoseconds);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

/// Thrown inside this file only.
struct Damaged {};

class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : rest_(bytes) {}

  std::uint64_t number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7Fu) << shift;
      if ((byte & 0x80u) == 0) return value;
    }
    throw Damaged{};
  }
  /// How many elements follow; each takes at least a byte, so that no count makes us reserve more than there
  /// is.
  std::uint64_t count() {
    const std::uint64_t value = number();
    if (value > rest_.size()) throw Damaged{};
    return value;
  }
  bool flag() {
    const std::uint64_t value = number();
    if (value > 1) throw Damaged{};
    return value == 1;
  }
  std::string text() {
    const std::uint64_t size = count();
    return std::string(take(static_cast<std::size_t>(size)));
  }
  Digest digest() {
    std::array<std::byte, Digest::kSize> raw{};
    std::memcpy(raw.data(), take(raw.size()).data(), raw.size());
    return Digest::from_bytes(raw);
  }
  Timestamp time() {
    const std::uint64_t bits = number();
    const std::uint64_t nanoseconds = number();
    if (nanoseconds > 999'999'999) throw Damaged{};
    const std::uint64_t seconds = (bits & 1) != 0 ? ~(bits >> 1) : bits >> 1;
    return {static_cast<std::int64_t>(seconds), static_cast<std::uint32_t>(nanoseconds)};
  }
  void expect_end() const {
    if (!rest_.empty()) throw Damaged{};
  }

 private:
  std::string_view take(std::size_t size) {
    if (size > rest_.size()) throw Damaged{};
    const auto front = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return front;
  }

  std::string_view rest_;
};

void put_platform(Encoder& out, const std::optional<oci::Platform>& platform) {
  out.number(platform ? 1 : 0);
  if (!platform) return;
  for (const auto* part :
       {&platform->os, &platform->architecture, &platform->variant, &platform->os_version}) {
    out.text(*part);
  }
  out.number(platform->os_features.size());
  for (const auto& feature : platform->os_features) out.text(feature);
}

std::optional<oci::Platform> get_platform(Decoder& in) {
  if (!in.flag()) return std::nullopt;
  oci::Platform platform;
  for (auto* part : {&platform.os, &platform.architecture, &platform.variant, &platform.os_version})
    *part = in.text();
  for (std::uint64_t left = in.count(); left > 0; --left) platform.os_features.push_back(in.text());
  return platform;
}

void put_descriptor(Encoder& out, const oci::Descriptor& blob) {
  out.text(blob.media_type);
  out.digest(blob.digest);
  out.number(blob.size);
  out.number(blob.urls.size());
  for (const auto& url : blob.urls) out.text(url);
  out.number(blob.annotations.size());
  for (const auto& [name, value] : blob.annotations) {
    out.text(name);
    out.text(value);
  }
  put_platform(out, blob.platform);
  out.text(blob.artifact_type);
}

oci::Descriptor get_descriptor(Decoder& in) {
  std::string media_type = in.text();
  const Digest digest = in.digest();
  oci::Descriptor blob{.media_type = std::move(media_type), .digest = digest, .size = in.number()};
  for (std::uint64_t left = in.count(); left > 0; --left) blob.urls.push_back(in.text());
  for (std::uint64_t left = in.count(); left > 0; --left) {
    std::string name = in.text();
    blob.annotations.insert_or_assign(std::move(name), in.text());
  }
  blob.platform = get_platform(in);
  blob.artifact_type = in.text();
  return blob;
}

CacheRecord get_record(Decoder& in) {
  const Digest key = in.digest();
  oci::Descriptor blob = get_descriptor(in);
  const oci::DiffId diff_id{in.digest()};
  CacheRecord record{.key = key, .layer = {std::move(blob), diff_id}};
  if (in.flag()) record.parent_chain = in.digest();
  record.created = in.time();
  const std::uint64_t inputs = in.count();
  record.inputs.reserve(static_cast<std::size_t>(inputs));
  for (std::uint64_t left = inputs; left > 0; --left) {
    std::string label = in.text();
    record.inputs.push_back({std::move(label), in.text()});
  }
  record.step = in.text();
  record.slot = in.text();
  in.expect_end();
  return record;
}

}  // namespace

std::string encode_record(const CacheRecord& record) {
  Encoder out;
  out.digest(record.key);
  put_descriptor(out, record.layer.blob);
  out.digest(record.layer.diff_id.value);
  out.number(record.parent_chain ? 1 : 0);
  if (record.parent_chain) out.digest(*record.parent_chain);
  out.time(record.created);
  out.number(record.inputs.size());
  for (const KeyField& field : record.inputs) {
    out.text(field.label);
    out.text(field.value);
  }
  out.text(record.step);
  out.text(record.slot);

  const std::string body = out.take();
  std::string bytes(kMagic);
  bytes += kRecordVersion;
  const std::uint32_t sum = checksum(body);
  for (unsigned shift = 0; shift < 32; shift += 8) bytes += static_cast<char>((sum >> shift) & 0xFF);
  return bytes + body;
}

std::optional<CacheRecord> decode_record(std::string_view bytes) {
  if (bytes.size() < kHeaderSize || !bytes.starts_with(kMagic) || bytes[kMagic.size()] != kRecordVersion)
    return std::nullopt;
  std::uint32_t sum = 0;
  for (unsigned i = 0; i < 4; ++i) {
    sum |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[kMagic.size() + 1 + i])) << (8 * i);
  }
  const auto body = bytes.substr(kHeaderSize);
  if (checksum(body) != sum) return std::nullopt;
  try {
    Decoder in(body);
    return get_record(in);
  } catch (const Damaged&) {
    return std::nullopt;
  }
}

}  // namespace imgbuild::cache
