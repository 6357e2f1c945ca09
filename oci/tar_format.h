#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace imgbuild::oci::tar {

/// Everything in a tar is a multiple of this.
inline constexpr std::size_t kBlockSize = 512;
using Block = std::array<char, kBlockSize>;

struct Field {
  std::size_t offset;
  std::size_t size;
};

// The ustar header (LAY-1); v7 ends before the magic, GNU puts other things where the prefix is.
inline constexpr Field kName{0, 100};
inline constexpr Field kMode{100, 8};
inline constexpr Field kUid{108, 8};
inline constexpr Field kGid{116, 8};
inline constexpr Field kSize{124, 12};
inline constexpr Field kMtime{136, 12};
inline constexpr Field kChecksum{148, 8};
inline constexpr Field kTypeFlag{156, 1};
inline constexpr Field kLinkName{157, 100};
inline constexpr Field kMagic{257, 6};
inline constexpr Field kVersion{263, 2};
inline constexpr Field kDevMajor{329, 8};
inline constexpr Field kDevMinor{337, 8};
inline constexpr Field kPrefix{345, 155};

// GNU's old sparse header: four pairs of offset and length, whether more blocks follow, the size with holes.
inline constexpr Field kSparsePairs{386, 96};
inline constexpr Field kSparseExtended{482, 1};
inline constexpr Field kSparseRealSize{483, 12};
// A block of more pairs.
inline constexpr Field kMorePairs{0, 504};
inline constexpr Field kMoreExtended{504, 1};

inline constexpr std::string_view kUstarMagic{"ustar\0", 6};
inline constexpr std::string_view kGnuMagic{"ustar ", 6};

/// The marks of a layer's deletions (LAY-26, LAY-27).
inline constexpr std::string_view kWhiteoutPrefix = ".wh.";
inline constexpr std::string_view kOpaqueName = ".wh..wh..opq";

inline std::string_view get(const Block& block, Field field) {
  return {block.data() + field.offset, field.size};
}

/// How many bytes follow `size` bytes of content up to the next block.
inline constexpr std::uint64_t padding(std::uint64_t size) {
  return (kBlockSize - size % kBlockSize) % kBlockSize;
}

// --- writing ---

/// Puts `text` in, cut to the field; a cut directly behind a slash loses the slash.
void put_text(Block& block, Field field, std::string_view text);
/// Whether `number` has no more octal digits than the field has places before its NUL.
bool fits_octal(Field field, std::uint64_t number);
/// Zero-padded octal digits and a NUL; `number` must fit.
void put_octal(Block& block, Field field, std::uint64_t number);
/// Fills in the checksum; nothing may change afterwards.
void seal(Block& block);
/// `<length> <key>=<value>\n`, where the length counts itself.
void append_pax_record(std::string& out, std::string_view key, std::string_view value);

// --- reading ---

bool is_zero(const Block& block);
/// Whether the checksum is right, the bytes taken as unsigned or, as some old programs did, as signed.
bool checksum_matches(const Block& block);
/// The text before the first NUL.
std::string_view get_text(const Block& block, Field field);
/// Octal with blanks around, or base-256 when the top bit of the first byte is set. An empty field is 0.
/// Nothing for garbage or a number that does not fit.
std::optional<std::int64_t> parse_number(std::string_view field);
/// Calls `record` for each PAX record in order. False when the text is not exactly a list of records.
bool for_each_pax_record(std::string_view text,
                         const std::function<void(std::string_view key, std::string_view value)>& record);

}  // namespace imgbuild::oci::tar
