#pragma once

#include <string>
#include <utility>

#include "base/error.h"

namespace imgbuild::cli {

/// An option or argument that cannot be what was meant: `message`, and the exit code for wrong usage.
inline Error usage(std::string message) { return Error(std::move(message), ExitCode::usage); }

}  // namespace imgbuild::cli
