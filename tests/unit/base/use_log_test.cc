#include "base/use_log.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

using namespace imgbuild;

namespace {

void use(int dir, std::string_view name, std::int64_t seconds) {
  UseLog log(dir);
  log.note(sha256(name));
  log.save({seconds, 0});
}

off_t size_of(int dir) {
  struct stat info {};
  return ::fstatat(dir, "uses", &info, 0) == 0 ? info.st_size : -1;
}

}  // namespace

TEST_CASE("the order of uses is that of the log, whatever the clock says (STO-35)") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "uses");
  CHECK(UseLog::read(dir.fd()).empty());
  use(dir.fd(), "a", 3000);
  use(dir.fd(), "b", 1000);
  use(dir.fd(), "c", 2000);
  use(dir.fd(), "a", 500);  // the clock went back
  const auto uses = UseLog::read(dir.fd());
  REQUIRE(uses.size() == 3);
  CHECK(uses.at(sha256("b")).order < uses.at(sha256("c")).order);
  CHECK(uses.at(sha256("c")).order < uses.at(sha256("a")).order);
  CHECK(uses.at(sha256("a")).seconds == 3000);
}

TEST_CASE("a build that used nothing writes nothing, one that used a thing often writes it once") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "uses");
  UseLog log(dir.fd());
  log.save({1, 0});
  CHECK(size_of(dir.fd()) == -1);
  log.note(sha256("a"));
  log.note(sha256("a"));
  log.save({1, 0});
  log.save({2, 0});
  CHECK(size_of(dir.fd()) == 44);
}

TEST_CASE("damaged and cut entries are passed over, those behind them are not (FLT-16)") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "uses");
  use(dir.fd(), "a", 1);
  write_all(open_at(dir.fd(), "uses", O_WRONLY | O_APPEND).get(), "cut");
  use(dir.fd(), "b", 2);
  const auto uses = UseLog::read(dir.fd());
  CHECK(uses.size() == 2);
  CHECK(uses.at(sha256("b")).seconds == 2);
}

TEST_CASE("the log does not grow without bound") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "uses");
  for (int round = 0; round < 60; ++round) {
    UseLog log(dir.fd());
    for (int i = 0; i < 1000; ++i) log.note(sha256(cat("thing ", i)));
    log.save({round, 0});
  }
  CHECK(size_of(dir.fd()) < (1 << 20) + 1000 * 44);
  const auto uses = UseLog::read(dir.fd());
  CHECK(uses.size() == 1000);
  CHECK(uses.at(sha256("thing 7")).seconds == 59);
}

TEST_CASE("a long log is looked through once in a megabyte, not by every build") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "uses");
  use(dir.fd(), "a", 1);
  const std::string entry = read_file(open_at(dir.fd(), "uses", O_RDONLY).get(), 100, "uses");
  std::string much;
  while (much.size() < (2 << 20) - 100) much += entry;
  write_all(open_at(dir.fd(), "uses", O_WRONLY | O_TRUNC).get(), much, "uses");
  use(dir.fd(), "b", 2);
  CHECK(size_of(dir.fd()) == static_cast<off_t>(much.size()) + 44);
  while (size_of(dir.fd()) > (1 << 20) && size_of(dir.fd()) < (2 << 20) + 1000) use(dir.fd(), "c", 3);
  CHECK(size_of(dir.fd()) == 3 * 44);
}

TEST_CASE("a directory that cannot be written costs the order and nothing else") {
  UseLog log(-1);
  log.note(sha256("a"));
  log.save({1, 0});
}
