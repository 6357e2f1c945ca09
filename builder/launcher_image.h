#pragma once

#include <string_view>

#include "base/unique_fd.h"

namespace imgbuild::builder {

/// The launcher program (builder/launcher/) as bytes inside this binary.
std::string_view launcher_image() noexcept;

/// A sealed copy of it in memory, ready to be executed: nobody can change it, not even through /proc
/// (SBX-13). Throws SystemError, with a note when the system forbids programs in memory.
UniqueFd make_launcher_file();

}  // namespace imgbuild::builder
