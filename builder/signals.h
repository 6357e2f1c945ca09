#pragma once

#include <string_view>

namespace imgbuild::builder {

/// Whether STOPSIGNAL accepts `text`: a number from 1, or a Linux name with or without SIG, in any case
/// (MET-7).
bool is_signal(std::string_view text);

}  // namespace imgbuild::builder
