#include "base/store_dir.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

using namespace imgbuild;

namespace {

bool exists(int dir, const std::string& name) {
  return ::faccessat(dir, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/// Runs `work` in a process that is killed afterwards, with everything it held.
template <typename F>
void in_killed_process(F work) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    work();
    ::raise(SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
}

}  // namespace

TEST_CASE("what is published replaces what was there and leaves nothing aside") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "store-dir-");
  const StoreDir store = dir.fd();
  store.publish(dir.fd(), "name", "old");
  store.publish(dir.fd(), "name", "new");
  CHECK(read_file_at(dir.fd(), "name", 100) == "new");
  CHECK(sweep_work(StoreDir(dir.fd())) == 0);
  ensure_dir_at(dir.fd(), "directory", 0700);
  CHECK_THROWS_AS(store.publish(dir.fd(), "directory", "x"), SystemError);
  CHECK(::unlinkat(dir.fd(), "work", AT_REMOVEDIR) == 0);  // empty
}

TEST_CASE("what a killed process left is swept, what a living one makes is not") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "store-dir-");
  const StoreDir store = dir.fd();
  const TempDir ours = store.make_work_dir();
  in_killed_process([&] {
    const StoreDir theirs = dir.fd();
    TempDir left = theirs.make_work_dir();
    ensure_dir_at(left.fd(), "deep", 0);
    left.release();
    write_all(open_at(theirs.work_fd(), theirs.work_name(), O_WRONLY | O_CREAT, 0600).get(), "half");
  });
  CHECK(sweep_work(StoreDir(dir.fd())) == 2);
  CHECK(sweep_work(StoreDir(dir.fd())) == 0);
  CHECK(exists(store.work_fd(), ours.name()));
}

TEST_CASE("names that no process claims are swept, too") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "store-dir-");
  const StoreDir store = dir.fd();
  for (const char* name : {"plain", "-", "a-b-c", ".hidden"}) {
    write_all(open_at(store.work_fd(), name, O_WRONLY | O_CREAT, 0600).get(), "x");
  }
  CHECK(sweep_work(store) == 4);
}

TEST_CASE("a claim keeps others waiting until it is given back") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "store-dir-");
  StoreDir store = dir.fd();
  std::stop_source stop;
  std::string waited_for;
  store.set_waiting(stop.get_token(), [&](const std::string& what, pid_t owner) {
    waited_for = what;
    CHECK(owner == ::getpid());
    stop.request_stop();
  });
  const auto first = store.claim("things", Digest::from_bytes({}), "a thing");
  REQUIRE(first);
  CHECK_THROWS_AS((void)store.claim("things", Digest::from_bytes({}), "a thing"), Cancelled);
  CHECK(waited_for == "a thing");
  CHECK_FALSE(StoreDir(-1).claim("things", Digest::from_bytes({}), "a thing"));
}
