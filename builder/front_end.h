#pragma once

#include "builder/environment.h"
#include "parser/instruction.h"

namespace imgbuild::builder {

/// PAR-18, PAR-19: a `# syntax=` directive, or BUILDKIT_SYNTAX in its place, asks for a front end. The
/// official Dockerfile front ends, any version, are what this program implements itself; anything else is
/// refused with UnsupportedError, because building the file by other rules than the user asked for would be
/// worse than not building.
void check_front_end(const parser::Dockerfile& file, const BuildArgs& args);

/// Build arguments that ask the front end for something it does not do: an index for one platform (ARG-24),
/// copying by containers (ARG-30). Throws UnsupportedError, or Error for what is no boolean.
void check_special_args(const BuildArgs& args);

/// ARG-25: whether the main git context keeps its `.git`. Throws Error for what is no boolean.
bool keeps_context_git_dir(const BuildArgs& args);

}  // namespace imgbuild::builder
