#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace imgbuild::parser {

/// `1 t T true TRUE True` and their opposites, as every boolean option value is read; nothing for anything
/// else.
std::optional<bool> parse_boolean(std::string_view text) noexcept;
/// An unsigned number that fits 32 bits, in base 8 or 10, of digits only.
std::optional<std::uint32_t> parse_unsigned(std::string_view text, int base) noexcept;
/// A size of memory: `64k`, `1.5g`, `10 MiB`, in powers of 1024 (MNT-8). Nothing if it is malformed or too
/// large.
std::optional<std::uint64_t> parse_memory_size(std::string_view text) noexcept;

}  // namespace imgbuild::parser
