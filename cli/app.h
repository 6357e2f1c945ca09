#pragma once

namespace imgbuild::cli {

/// The whole command line: picks the command, runs it, prints errors. Returns the exit code (base/error.h).
int run_app(int argc, char** argv);

}  // namespace imgbuild::cli
