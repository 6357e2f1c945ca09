#pragma once

#include <memory>
#include <string>

#include "builder/event.h"

namespace imgbuild::cli {

enum class ProgressMode { plain, json, quiet };

/// A sink that writes what a build reports to descriptor `fd`. `mask_control`: the descriptor is a terminal,
/// so control characters of commands are escaped (SBX-84).
std::unique_ptr<builder::EventSink> make_renderer(ProgressMode mode, int fd, bool is_terminal, bool debug);

}  // namespace imgbuild::cli
