#pragma once

#include <cstdint>

namespace imgbuild::builder {

/// What root may do in a RUN, as Docker gives it (SBX-72); bits by CAP_* number.
std::uint64_t default_capabilities() noexcept;

/// The capabilities this process holds (the effective set).
std::uint64_t own_capabilities() noexcept;

constexpr std::uint64_t capability_bit(unsigned capability) noexcept {
  return std::uint64_t{1} << capability;
}

inline bool has_capability(std::uint64_t set, unsigned capability) noexcept {
  return (set & capability_bit(capability)) != 0;
}

}  // namespace imgbuild::builder
