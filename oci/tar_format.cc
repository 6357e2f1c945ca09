#include "oci/tar_format.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/strings.h"

namespace imgbuild::oci::tar {

namespace {

struct Sums {
  std::uint64_t as_unsigned = 0;
  std::int64_t as_signed = 0;
};

/// The sum over the header with the checksum's own field taken as blanks.
Sums sum(const Block& block) {
  Sums sums;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const bool own = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size;
    const char c = own ? ' ' : block[i];
    sums.as_unsigned += static_cast<unsigned char>(c);
    sums.as_signed += static_cast<signed char>(c);
  }
  return sums;
}

std::optional<std::int64_t> parse_base256(std::string_view field) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(field[i]); };
  const bool negative = (byte(0) & 0x40) != 0;
  // The first byte gives six bits of the number, bit 6 is its sign and bit 7 the mark of this form.
  std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
  for (std::size_t i = 0; i < field.size(); ++i) {
    const unsigned char bits =
        i > 0 ? byte(i) : static_cast<unsigned char>(negative ? byte(0) | 0xC0 : byte(0) & 0x3F);
    const std::uint64_t top = value >> 55;
    if (top != (negative ? 0x1FFu : 0u)) return std::nullopt;  // shifting would lose digits or the sign
    value = value << 8 | bits;
  }
  return static_cast<std::int64_t>(value);
}

}  // namespace

void put_text(Block& block, Field field, std::string_view text) {
  char* const at = block.data() + field.offset;
  std::memcpy(at, text.data(), std::min(text.size(), field.size));
  if (text.size() <= field.size || at[field.size - 1] != '/') return;
  // A name cut behind a slash would look like a directory's to a reader that ignores the PAX header.
  const std::size_t end = text.substr(0, field.size - 1).find_last_not_of('/');
  at[end == std::string_view::npos ? 0 : end + 1] = '\0';
}

bool fits_octal(Field field, std::uint64_t number) { return number >> (3 * (field.size - 1)) == 0; }

void put_octal(Block& block, Field field, std::uint64_t number) {
  assert(fits_octal(field, number));
  for (std::size_t i = field.size - 1; i-- > 0; number >>= 3) {
    block[field.offset + i] = static_cast<char>('0' + (number & 7));
  }
  block[field.offset + field.size - 1] = '\0';
}

void seal(Block& block) {
  std::memset(block.data() + kChecksum.offset, ' ', kChecksum.size);
  std::uint32_t sum = 0;  // of bytes alone, unlike sum(): every entry has a header or two
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put_octal(block, {kChecksum.offset, 7}, sum);
  block[kChecksum.offset + 7] = ' ';
}

void append_pax_record(std::string& out, std::string_view key, std::string_view value) {
  const std::size_t rest = key.size() + value.size() + 3;  // blank, '=' and newline
  std::size_t length = rest + cat(rest).size();
  length = rest + cat(length).size();  // one more digit when counting the digits added one
  const std::size_t before = out.size();
  out += cat(length, " ", key, "=", value, "\n");
  assert(out.size() - before == length);
  (void)before;
}

bool is_zero(const Block& block) {
  return std::all_of(block.begin(), block.end(), [](char c) { return c == '\0'; });
}

bool checksum_matches(const Block& block) {
  const auto stored = parse_number(get(block, kChecksum));
  const Sums sums = sum(block);
  return stored && (static_cast<std::uint64_t>(*stored) == sums.as_unsigned || *stored == sums.as_signed);
}

std::string_view get_text(const Block& block, Field field) {
  const std::string_view all = get(block, field);
  return all.substr(0, all.find('\0'));
}

std::optional<std::int64_t> parse_number(std::string_view field) {
  if (!field.empty() && (static_cast<unsigned char>(field[0]) & 0x80) != 0) return parse_base256(field);
  while (!field.empty() && (field.front() == ' ' || field.front() == '\0')) field.remove_prefix(1);
  std::int64_t value = 0;
  std::size_t digits = 0;
  for (; digits < field.size() && field[digits] >= '0' && field[digits] <= '7'; ++digits) {
    if (value >> 60 != 0) return std::nullopt;
    value = value << 3 | (field[digits] - '0');
  }
  for (const char c : field.substr(digits)) {
    if (c != ' ' && c != '\0') return std::nullopt;
  }
  return value;
}

bool for_each_pax_record(std::string_view text,
                         const std::function<void(std::string_view key, std::string_view value)>& record) {
  while (!text.empty()) {
    const std::size_t blank = text.substr(0, 21).find(' ');
    if (blank == std::string_view::npos) return false;
    const auto length = parse_decimal(text.substr(0, blank));
    if (!length || *length > text.size() || *length < blank + 3) return false;
    std::string_view body = text.substr(blank + 1, static_cast<std::size_t>(*length) - blank - 1);
    if (body.back() != '\n') return false;
    body.remove_suffix(1);
    const std::size_t equals = body.find('=');
    if (equals == 0 || equals == std::string_view::npos) return false;
    record(body.substr(0, equals), body.substr(equals + 1));
    text.remove_prefix(static_cast<std::size_t>(*length));
  }
  return true;
}

}  // namespace imgbuild::oci::tar
