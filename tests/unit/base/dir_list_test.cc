#include "base/dir_list.h"

#include <dirent.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"

using namespace imgbuild;

TEST_CASE("all names of a directory are listed with their types, however many there are") {
  const TempDir dir = TempDir::create("/tmp", "dir-list-");
  std::map<std::string, unsigned char> expected;
  for (int i = 0; i < 1500; ++i) {  // more than one call to the kernel gives
    const std::string name = cat(std::string(100, 'n'), i);
    expected[name] = i % 500 == 0 ? DT_DIR : DT_REG;
    if (i % 500 == 0)
      ensure_dir_at(dir.fd(), name, 0755);
    else
      open_at(dir.fd(), name, O_WRONLY | O_CREAT, 0644);
  }
  std::map<std::string, unsigned char> found;
  const UniqueFd fd = open_at(dir.fd(), ".", O_RDONLY | O_DIRECTORY);
  list_names(fd.get(), "d", [&](const char* name, unsigned char type) {
    CHECK(found.emplace(name, type == DT_UNKNOWN ? expected[name] : type).second);
  });
  CHECK(found == expected);
}

TEST_CASE("what is no directory has no names to list") {
  const TempDir dir = TempDir::create("/tmp", "dir-list-");
  const UniqueFd file = open_at(dir.fd(), "file", O_RDONLY | O_CREAT, 0644);
  CHECK_THROWS_WITH_AS(list_names(file.get(), "some/path", [](const char*, unsigned char) {}),
                       doctest::Contains("some/path"), SystemError);
}
