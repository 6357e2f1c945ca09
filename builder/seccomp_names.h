#pragma once

#include <span>

namespace imgbuild::builder {

constexpr int kUnknownNumber = -1;

/// A system call by name, and by number where the library that builds the filter may be older than the call.
struct AllowedCall {
  const char* name;
  int number = kUnknownNumber;
};

/// The newest number the profile has an opinion about, allowed or not (SBX-92).
constexpr unsigned kNewestKnownCall = 467;

/// Calls that are allowed whatever their arguments are, with the capabilities a RUN has (SBX-72, SBX-93).
std::span<const AllowedCall> allowed_calls() noexcept;

}  // namespace imgbuild::builder
