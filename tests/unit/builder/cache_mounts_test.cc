#include "builder/cache_mounts.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/temp_dir.h"

using namespace imgbuild;
using builder::CacheMountRequest;
using builder::CacheMounts;
using Sharing = parser::MountOptions::Sharing;

namespace {

struct stat stat_of(const UniqueFd& fd) {
  struct stat info {};
  REQUIRE(::fstat(fd.get(), &info) == 0);
  return info;
}

CacheMountRequest request(const std::string& id, Sharing sharing = Sharing::shared) {
  CacheMountRequest out;
  out.id = id;
  out.sharing = sharing;
  out.uid = ::geteuid();
  out.gid = ::getegid();
  return out;
}

}  // namespace

TEST_CASE("a cache keeps its content and is found again by its id alone") {
  const TempDir store = TempDir::create(std::string("/tmp"), "cache-mounts-");
  CacheMounts mounts(store.fd());
  ino_t first = 0;
  {
    const auto lease = mounts.acquire(request("../../etc"), {});
    first = stat_of(lease.directory).st_ino;
    const UniqueFd dir = open_at(lease.directory.get(), ".", O_RDONLY | O_DIRECTORY);
    write_all(open_at(dir.get(), "kept", O_WRONLY | O_CREAT, 0644).get(), "x");
  }
  const auto again = mounts.acquire(request("../../etc"), {});
  CHECK(stat_of(again.directory).st_ino == first);
  CHECK(read_file_at(open_at(again.directory.get(), ".", O_RDONLY | O_DIRECTORY).get(), "kept", 10) == "x");
  CHECK(stat_of(mounts.acquire(request("other"), {}).directory).st_ino != first);
  auto other_mode = request("../../etc");
  other_mode.mode = 0700;
  const auto lease = mounts.acquire(other_mode, {});
  CHECK(stat_of(lease.directory).st_ino != first);
  CHECK((stat_of(lease.directory).st_mode & 07777) == 0700);
}

TEST_CASE("a private cache in use makes the next user take another one") {
  const TempDir store = TempDir::create(std::string("/tmp"), "cache-mounts-");
  CacheMounts mounts(store.fd());
  const auto first = mounts.acquire(request("id", Sharing::private_), {});
  const auto second = mounts.acquire(request("id", Sharing::private_), {});
  CHECK(stat_of(first.directory).st_ino != stat_of(second.directory).st_ino);
}

TEST_CASE("a locked cache makes others wait, and waiting can be cancelled") {
  const TempDir store = TempDir::create(std::string("/tmp"), "cache-mounts-");
  CacheMounts mounts(store.fd());
  auto holder = std::make_optional(mounts.acquire(request("id", Sharing::locked), {}));
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stop.request_stop();
  });
  CHECK_THROWS_AS(mounts.acquire(request("id", Sharing::locked), stop.get_token()), Cancelled);
  holder.reset();
  CHECK(mounts.acquire(request("id", Sharing::locked), {}).directory);
}

TEST_CASE("a new cache is filled from its seed once") {
  const TempDir store = TempDir::create(std::string("/tmp"), "cache-mounts-");
  CacheMounts mounts(store.fd());
  int seeded = 0;
  auto with_seed = request("id");
  with_seed.seed_key = "a";
  with_seed.seed = [&](int directory) {
    ++seeded;
    write_all(open_at(directory, "seed", O_WRONLY | O_CREAT, 0644).get(), "s");
  };
  mounts.acquire(with_seed, {});
  mounts.acquire(with_seed, {});
  CHECK(seeded == 1);
}
