#include "builder/store/store_root.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/file_lock.h"
#include "base/temp_dir.h"

using namespace imgbuild;
using namespace imgbuild::builder;
namespace fs = std::filesystem;

namespace {

struct Place {
  TempDir dir = TempDir::create(std::string("/tmp"), "store-root");
  std::string path = fs::read_symlink("/proc/self/fd/" + std::to_string(dir.fd())).string() + "/store";

  std::string format() const {
    std::ifstream in(path + "/format");
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
  }
  void set_format(const std::string& text) const {
    fs::create_directories(path);
    fs::permissions(path, fs::perms::owner_all);
    std::ofstream(path + "/format") << text;
  }
};

}  // namespace

TEST_CASE("a store is made once and found the same again") {
  const Place place;
  const auto first = open_store_root(place.path);
  CHECK(first.epoch == 1);
  const std::string format = place.format();
  CHECK(format.starts_with("imgbuild-store 2\nboot "));
  CHECK(open_store_root(place.path).epoch == 1);
  CHECK(place.format() == format);
}

TEST_CASE("another boot of the machine is another epoch (STO-8)") {
  const Place place;
  place.set_format("imgbuild-store 2\nboot 00000000-0000-0000-0000-000000000000\nepoch 41\n");
  CHECK(open_store_root(place.path).epoch == 42);
  CHECK(open_store_root(place.path).epoch == 42);
}

TEST_CASE("a store of version 1 is brought up to date, but not while one of its builds runs (STO-2)") {
  const Place place;
  place.set_format("imgbuild-store 1\n");
  fs::create_directories(place.path + "/steps/s1");
  const UniqueFd step = open_path(place.path + "/steps/s1", O_RDONLY | O_DIRECTORY);
  {
    const auto running = FileLock::acquire(step.get(), "owner", FileLock::Kind::exclusive);
    CHECK_THROWS_WITH_AS(open_store_root(place.path), doctest::Contains("older version"), Error);
    CHECK(place.format() == "imgbuild-store 1\n");
  }
  CHECK(open_store_root(place.path).epoch == 1);
  CHECK(place.format().starts_with("imgbuild-store 2\n"));
}

TEST_CASE("a store of the future or of something else is refused and not touched (FLT-18)") {
  for (const std::string text : {"imgbuild-store 3\nlayout other\n", "imgbuild-store 99999999999999999999\n",
                                 "imgbuild-store \n", "hello\n", "\n"}) {
    const Place place;
    place.set_format(text);
    CHECK_THROWS_AS(open_store_root(place.path), UnsupportedError);
    CHECK(place.format() == text);
    CHECK(std::distance(fs::directory_iterator(place.path), fs::directory_iterator()) == 1);
  }
}

TEST_CASE("a store others can write, or with links in place of its folders, is refused (ATK-140)") {
  const Place place;
  fs::create_directories(place.path);
  ::chmod(place.path.c_str(), 0777);
  CHECK_THROWS_WITH_AS(open_store_root(place.path), doctest::Contains("written by others"), Error);
  ::chmod(place.path.c_str(), 0700);
  for (const std::string name : {"blobs", "locks", "layers"}) {
    fs::create_directory_symlink("/tmp", place.path + "/" + name);
    CHECK_THROWS_AS(open_store_root(place.path), Error);
    fs::remove(place.path + "/" + name);
  }
  CHECK(open_store_root(place.path).epoch == 1);
}
