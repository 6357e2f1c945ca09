#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace imgbuild::tests {

/// A tar header exactly as written here, valid or not. Empty number fields stay NUL.
struct RawHeader {
  std::string name;
  char type = '0';
  std::string link = "";
  std::string mode = "0000644";
  std::string uid = "0000000";
  std::string gid = "0000000";
  std::string size = "";  ///< empty: the length of the content, in octal
  std::string mtime = "00000000000";
  std::string dev_major = "0000000";
  std::string dev_minor = "0000000";
  std::string magic = std::string("ustar\0", 6) + "00";  ///< magic and version
  std::string prefix = "";
  /// Bytes put at offsets of the block, after everything else.
  std::vector<std::pair<std::size_t, std::string>> patches = {};
  /// Added to the checksum.
  int checksum_error = 0;
};

inline const std::string kGnuTarMagic = "ustar  ";
inline const std::string kV7TarMagic = "";

/// Builds archives that no sane tool would write.
class RawTar {
 public:
  RawTar& member(const RawHeader& header, std::string_view content = {}) {
    bytes_ += block(header, content.size());
    return payload(content);
  }
  RawTar& dir(const std::string& name) { return member({.name = name, .type = '5', .mode = "0000755"}); }
  RawTar& file(const std::string& name, std::string_view content = {}) {
    return member({.name = name}, content);
  }
  RawTar& link(const std::string& name, const std::string& target) {
    return member({.name = name, .type = '2', .link = target, .mode = "0000777"});
  }
  RawTar& hard(const std::string& name, const std::string& target) {
    return member({.name = name, .type = '1', .link = target});
  }
  /// A PAX header with these records.
  RawTar& pax(const std::vector<std::pair<std::string, std::string>>& records, char type = 'x') {
    std::string text;
    for (const auto& [key, value] : records) text += record(key, value);
    return member({.name = "PaxHeaders.0/x", .type = type}, text);
  }
  /// A GNU long name ('L') or link ('K').
  RawTar& gnu_long(char type, std::string text) {
    text += '\0';
    return member({.name = "././@LongLink", .type = type, .magic = kGnuTarMagic}, text);
  }
  RawTar& zeros(std::size_t blocks) {
    bytes_.append(blocks * 512, '\0');
    return *this;
  }
  RawTar& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  /// Content and padding alone.
  RawTar& payload(std::string_view content) {
    bytes_ += content;
    bytes_.append((512 - content.size() % 512) % 512, '\0');
    return *this;
  }

  const std::string& open_end() const { return bytes_; }
  /// With the two zero blocks.
  std::string str() const { return bytes_ + std::string(1024, '\0'); }

  static std::string record(const std::string& key, const std::string& value) {
    const std::size_t rest = key.size() + value.size() + 3;
    std::size_t length = rest + 1;
    while (std::to_string(length).size() + rest != length) ++length;
    return std::to_string(length) + " " + key + "=" + value + "\n";
  }

  static std::string octal(std::uint64_t value, std::size_t digits) {
    std::string text(digits, '0');
    for (std::size_t i = digits; i-- > 0; value >>= 3) text[i] = static_cast<char>('0' + (value & 7));
    return text;
  }

  static std::string block(const RawHeader& h, std::size_t content_size) {
    std::string out(512, '\0');
    const auto put = [&out](std::size_t at, std::string_view text) { out.replace(at, text.size(), text); };
    put(0, h.name);
    put(100, h.mode);
    put(108, h.uid);
    put(116, h.gid);
    put(124, h.size.empty() ? octal(content_size, 11) : h.size);
    put(136, h.mtime);
    put(148, "        ");
    out[156] = h.type;
    put(157, h.link);
    put(257, h.magic);
    put(329, h.dev_major);
    put(337, h.dev_minor);
    put(345, h.prefix);
    for (const auto& [at, text] : h.patches) put(at, text);
    int sum = h.checksum_error;
    for (const char c : out) sum += static_cast<unsigned char>(c);
    put(148, octal(static_cast<std::uint64_t>(sum), 6) + std::string("\0 ", 2));
    return out;
  }

 private:
  std::string bytes_;
};

}  // namespace imgbuild::tests
