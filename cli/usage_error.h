#pragma once

#include <CLI/CLI.hpp>

#include "base/error.h"

namespace imgbuild::cli {

/// What is wrong with the command line `app` refused, in our own words: the option that does not exist with
/// one that is spelt almost like it, and where to read more.
Error usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace imgbuild::cli
