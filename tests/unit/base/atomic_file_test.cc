#include "base/atomic_file.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/syncer.h"
#include "base/temp_dir.h"

using namespace imgbuild;
namespace fs = std::filesystem;

namespace {

std::string slurp(const fs::path& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

std::size_t count(const fs::path& dir) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a file appears when it is committed and not before") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "atomic");
  const fs::path path = fs::read_symlink("/proc/self/fd/" + std::to_string(dir.fd()));
  std::ofstream(path / "out") << "old";
  {
    AtomicFile file(path / "out");
    write_all(file.fd(), "half");
    CHECK(slurp(path / "out") == "old");
  }
  CHECK(slurp(path / "out") == "old");
  CHECK(count(path) == 1);
  AtomicFile file(path / "out");
  write_all(file.fd(), "new");
  Syncer syncer;
  file.commit(&syncer);
  CHECK(slurp(path / "out") == "new");
  CHECK(count(path) == 1);
}

TEST_CASE("a link to the file stays a link") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "atomic");
  const fs::path path = fs::read_symlink("/proc/self/fd/" + std::to_string(dir.fd()));
  std::ofstream(path / "real") << "old";
  fs::create_symlink("real", path / "link");
  AtomicFile file(path / "link");
  write_all(file.fd(), "new");
  file.commit();
  CHECK(fs::is_symlink(path / "link"));
  CHECK(slurp(path / "real") == "new");
}

TEST_CASE("devices are written to in place and directories refused") {
  AtomicFile null("/dev/null");
  write_all(null.fd(), "x");
  null.commit();
  CHECK(fs::is_character_file("/dev/null"));
  CHECK_THROWS_WITH_AS(AtomicFile("/tmp"), doctest::Contains("is a directory"), Error);
  CHECK_THROWS_AS(AtomicFile("/nowhere/at/all"), SystemError);
}
