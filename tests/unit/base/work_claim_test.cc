#include "base/work_claim.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/temp_dir.h"

using namespace imgbuild;
using namespace std::chrono_literals;

namespace {

/// Another process that owns a lock until it is told what to do.
class OtherOwner {
 public:
  OtherOwner(int dir, const Digest& key) {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      const WorkClaim lock = WorkClaim::acquire(dir, "keys", key);
      (void)!::write(ready[1], "r", 1);
      for (;;) ::pause();
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~OtherOwner() { kill(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

}  // namespace

TEST_CASE("a key has one owner at a time, also within one process, and other keys are free") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "key-lock-");
  std::optional<WorkClaim> first = WorkClaim::acquire(dir.fd(), "keys", sha256("one"));
  const WorkClaim other = WorkClaim::acquire(dir.fd(), "keys", sha256("two"));
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(30ms);
    stop.request_stop();
  });
  CHECK_THROWS_AS(WorkClaim::acquire(dir.fd(), "keys", sha256("one"), {.stop = stop.get_token()}), Cancelled);
  first.reset();
  CHECK_FALSE(WorkClaim::acquire(dir.fd(), "keys", sha256("one")).owner_failed());
}

TEST_CASE("the lock of a killed owner is free at once, and nobody calls that a failure") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "key-lock-");
  OtherOwner owner(dir.fd(), sha256("one"));
  std::jthread killer([&] {
    std::this_thread::sleep_for(50ms);
    owner.kill();
  });
  const WorkClaim taken = WorkClaim::acquire(dir.fd(), "keys", sha256("one"));
  CHECK_FALSE(taken.owner_failed());
}

TEST_CASE("who waited for an owner that failed is told so, and who comes later is not") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "key-lock-");
  std::optional<WorkClaim> owner = WorkClaim::acquire(dir.fd(), "keys", sha256("one"));
  std::optional<WorkClaim> waiter;
  std::jthread thread([&] { waiter = WorkClaim::acquire(dir.fd(), "keys", sha256("one")); });
  std::this_thread::sleep_for(50ms);
  owner->fail();
  owner.reset();
  thread.join();
  CHECK(waiter->owner_failed());
  waiter.reset();
  CHECK_FALSE(WorkClaim::acquire(dir.fd(), "keys", sha256("one")).owner_failed());
}

TEST_CASE("a long wait names the process that owns the lock") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "key-lock-");
  OtherOwner owner(dir.fd(), sha256("one"));
  std::stop_source stop;
  pid_t named = 0;
  LockWait wait{.stop = stop.get_token()};
  wait.on_long = [&](pid_t pid) {
    named = pid;
    stop.request_stop();
  };
  CHECK_THROWS_AS(WorkClaim::acquire(dir.fd(), "keys", sha256("one"), wait), Cancelled);
  CHECK(named == owner.pid());
}

TEST_CASE("ten thousand keys make one small file") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "key-lock-");
  for (int i = 0; i < 10'000; ++i) (void)WorkClaim::acquire(dir.fd(), "keys", sha256(std::to_string(i)));
  struct stat info {};
  REQUIRE(::fstatat(dir.fd(), "keys", &info, 0) == 0);
  CHECK(info.st_size <= 64 * 1024);
}

TEST_CASE("garbage in the table of owners disturbs nobody") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "key-lock-");
  write_all(open_at(dir.fd(), "keys", O_WRONLY | O_CREAT, 0600).get(), std::string(70'000, '\xff'));
  CHECK_FALSE(WorkClaim::acquire(dir.fd(), "keys", sha256("one")).owner_failed());
}

TEST_CASE("whoever does not want to wait is told at once") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "key-lock-");
  {
    const auto owner = WorkClaim::try_acquire(dir.fd(), "work", sha256("a"));
    REQUIRE(owner);
    CHECK(!WorkClaim::try_acquire(dir.fd(), "work", sha256("a")));
    CHECK(WorkClaim::try_acquire(dir.fd(), "work", sha256("b")));
  }
  CHECK(WorkClaim::try_acquire(dir.fd(), "work", sha256("a")));
}
