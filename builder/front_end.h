#pragma once

#include "builder/environment.h"
#include "parser/instruction.h"

namespace imgbuild::builder {

/// PAR-18, PAR-19: a `# syntax=` directive, or BUILDKIT_SYNTAX in its place, asks for a front end. The
/// official Dockerfile front ends, any version, are what this program implements itself; anything else is
/// refused with UnsupportedError, because building the file by other rules than the user asked for would be
/// worse than not building.
void check_front_end(const parser::Dockerfile& file, const BuildArgs& args);

}  // namespace imgbuild::builder
