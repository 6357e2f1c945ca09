#include "base/key_locks.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stop_token>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/temp_dir.h"

using namespace imgbuild;

TEST_CASE("a held key cannot be taken by another owner, a different key can") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "locks");
  KeyLocks user(dir.fd(), "store");
  KeyLocks remover(dir.fd(), "store");
  user.hold(5);
  user.hold(5);
  CHECK(remover.is_held_by_others(5));
  CHECK_FALSE(remover.is_held_by_others(6));
  CHECK_FALSE(remover.try_take(5));
  CHECK(remover.try_take(6));
  user.release(5);
  CHECK(remover.try_take(5));
  struct stat info {};
  REQUIRE(::fstatat(dir.fd(), "store", &info, 0) == 0);
  CHECK(info.st_size == 0);
}

TEST_CASE("locks end with their owner, and one who waits gets them") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "locks");
  KeyLocks user(dir.fd(), "store");
  std::jthread releasing;
  {
    auto remover = std::make_unique<KeyLocks>(dir.fd(), "store");
    REQUIRE(remover->try_take(7));
    releasing = std::jthread([owner = std::move(remover)]() mutable { owner.reset(); });
  }
  user.hold(7);
  CHECK(KeyLocks(dir.fd(), "store").is_held_by_others(7));
}

TEST_CASE("waiting for a key that is never given back can be cancelled (ATK-142)") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "locks");
  KeyLocks remover(dir.fd(), "store");
  REQUIRE(remover.try_take(7));
  std::stop_source stop;
  KeyLocks user(dir.fd(), "store", stop.get_token());
  std::jthread stopping([&] { stop.request_stop(); });
  CHECK_THROWS_AS(user.hold(7), Cancelled);
}

TEST_CASE("a lock file that is a link or a pipe is refused (ATK-142)") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "locks");
  REQUIRE(::symlinkat("/etc/passwd", dir.fd(), "link") == 0);
  CHECK_THROWS_AS(KeyLocks(dir.fd(), "link"), SystemError);
  REQUIRE(::mkfifoat(dir.fd(), "pipe", 0600) == 0);
  CHECK_THROWS_WITH_AS(KeyLocks(dir.fd(), "pipe"), doctest::Contains("no file"), Error);
  CHECK_FALSE(KeyLocks::open_existing(dir.fd(), "nothing"));
}

TEST_CASE("keys of digests stay below the keys that are not of digests") {
  CHECK(KeyLocks::key_of(sha256("a")) < KeyLocks::kKeys);
  CHECK(KeyLocks::key_of(sha256("a")) != KeyLocks::key_of(sha256("b")));
}
