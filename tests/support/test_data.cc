#include "tests/support/test_data.h"

#include <fstream>
#include <iterator>
#include <stdexcept>

namespace imgbuild::tests {

std::string test_data_path(const std::string& name) { return std::string(IMGBUILD_TESTDATA) + "/" + name; }

std::string read_test_data(const std::string& name) {
  std::ifstream file(test_data_path(name), std::ios::binary);
  if (!file) throw std::runtime_error("cannot read test data " + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace imgbuild::tests
