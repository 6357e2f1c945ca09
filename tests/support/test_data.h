#pragma once

#include <string>

namespace imgbuild::tests {

/// Absolute path of `name` below the repository's `testdata/`.
std::string test_data_path(const std::string& name);
/// Its content; fails the test when it cannot be read.
std::string read_test_data(const std::string& name);

}  // namespace imgbuild::tests
