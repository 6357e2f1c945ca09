#pragma once

#include <string>

#include "builder/build.h"

namespace imgbuild::cli {

/// The JSON of `--metadata-file` (EXP-6), pretty-printed.
std::string metadata_json(const builder::BuildResult& result);
/// The lines of `--stats`.
std::string stats_text(const builder::BuildStats& stats);

}  // namespace imgbuild::cli
