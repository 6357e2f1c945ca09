#pragma once

#include <optional>

#include "base/error.h"

namespace imgbuild::builder {

/// A full store as such, whoever met it first (STO-33); an output elsewhere that does not fit keeps its own
/// error. `store` is a descriptor of its directory; nothing when that is not what `error` is about.
std::optional<Error> full_store(const SystemError& error, int store);

}  // namespace imgbuild::builder
