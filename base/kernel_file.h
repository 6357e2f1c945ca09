#pragma once

#include <string>

namespace imgbuild {

/// Reads a file of /proc or /sys, whose size is not known before its end. Throws SystemError.
std::string read_kernel_file(const std::string& path);

}  // namespace imgbuild
