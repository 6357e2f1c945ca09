#include "cache/stat_memo.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <thread>

#include "base/hash.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

using namespace imgbuild;
using cache::FileIdentity;

namespace {

constexpr std::int64_t kDay = 86400;
const Timestamp kNow{1'700'000'000, 500};

FileIdentity file(std::uint64_t inode, std::uint64_t device = 1) {
  return {device, inode, 10 * inode, {kNow.seconds - kDay, 7}, {kNow.seconds - kDay, 8}};
}
Digest content(std::uint64_t inode) { return sha256(cat("content ", inode)); }

void learn(cache::StatMemo& memo, std::uint64_t from, std::uint64_t to) {
  for (auto inode = from; inode < to; ++inode) memo.remember(file(inode), content(inode), kNow);
}

std::size_t known(const cache::StatMemo& memo, std::uint64_t from, std::uint64_t to) {
  std::size_t count = 0;
  for (auto inode = from; inode < to; ++inode) {
    const auto found = memo.find(file(inode));
    if (!found) continue;
    CHECK(*found == content(inode));
    ++count;
  }
  return count;
}

std::string memo_bytes(const TempDir& dir) { return read_file_at(dir.fd(), "stat-memo", 1u << 30); }
void overwrite_memo(const TempDir& dir, std::string_view bytes) {
  const UniqueFd fd = open_at(dir.fd(), "stat-memo", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  write_all(fd.get(), bytes);
}

}  // namespace

TEST_CASE("a digest is remembered within a build and, once saved, by the next") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto first = cache::open_stat_memo(dir.fd());
  CHECK_FALSE(first->find(file(1)));
  learn(*first, 0, 1000);
  CHECK(known(*first, 0, 1000) == 1000);
  CHECK(known(*cache::open_stat_memo(dir.fd()), 0, 1000) == 0);
  first->save();
  CHECK(known(*first, 0, 1000) == 1000);
  CHECK(known(*cache::open_stat_memo(dir.fd()), 0, 2000) == 1000);
}

TEST_CASE("a file that differs in anything is not believed") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto memo = cache::open_stat_memo(dir.fd());
  learn(*memo, 5, 6);
  const auto check = [](const cache::StatMemo& in) {
    REQUIRE(in.find(file(5)));
    auto other = file(5);
    SUBCASE("device") { other.device = 2; }
    SUBCASE("inode") { other.inode = 6; }
    SUBCASE("size") { ++other.size; }
    SUBCASE("mtime seconds") { ++other.mtime.seconds; }
    SUBCASE("mtime nanoseconds") { ++other.mtime.nanoseconds; }
    SUBCASE("ctime seconds") { --other.ctime.seconds; }
    SUBCASE("ctime nanoseconds") { ++other.ctime.nanoseconds; }
    CHECK_FALSE(in.find(other));
  };
  memo->save();
  const auto reopened = cache::open_stat_memo(dir.fd());
  check(*reopened);
}

TEST_CASE("a file stamped within the clock's grain of the reading is not remembered") {
  const auto settled = [](Timestamp mtime, Timestamp ctime) {
    return cache::is_settled({1, 1, 1, mtime, ctime}, Timestamp{1000, 500'000'000});
  };
  const Timestamp old{900, 1};
  CHECK(settled(old, old));
  CHECK(settled({1000, 470'000'000}, {1000, 470'000'000}));
  CHECK_FALSE(settled({1000, 495'000'000}, old));
  CHECK_FALSE(settled(old, {1000, 495'000'000}));
  CHECK_FALSE(settled(old, {1000, 500'000'000}));
  CHECK_FALSE(settled(old, {1000, 600'000'000}));  // the clock was set back
  CHECK_FALSE(settled({2000, 1}, old));
}

TEST_CASE("on a file system that keeps whole seconds the grain is two of them") {
  const auto settled = [](std::int64_t seconds) {
    return cache::is_settled({1, 1, 1, {seconds, 0}, {seconds, 0}}, Timestamp{1000, 500'000'000});
  };
  CHECK(settled(990));
  CHECK(settled(998));
  CHECK_FALSE(settled(999));
  CHECK_FALSE(settled(1000));
}

TEST_CASE("absurd times are compared without overflow") {
  constexpr auto lowest = std::numeric_limits<std::int64_t>::min();
  constexpr auto highest = std::numeric_limits<std::int64_t>::max();
  CHECK(cache::is_settled({1, 1, 1, {lowest, 5}, {lowest, 5}}, kNow));
  CHECK_FALSE(cache::is_settled({1, 1, 1, {highest, 5}, {highest, 5}}, kNow));
}

TEST_CASE("an unsettled file leaves no trace in the memo") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto memo = cache::open_stat_memo(dir.fd());
  auto young = file(1);
  young.mtime = kNow;
  memo->remember(young, content(1), kNow);
  CHECK_FALSE(memo->find(young));
  memo->save();
  CHECK(::faccessat(dir.fd(), "stat-memo", F_OK, 0) != 0);
}

TEST_CASE("what two builds learned at once is joined") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto a = cache::open_stat_memo(dir.fd());
  const auto b = cache::open_stat_memo(dir.fd());
  learn(*a, 0, 300);
  learn(*b, 200, 500);
  a->save();
  b->save();
  CHECK(known(*cache::open_stat_memo(dir.fd()), 0, 500) == 500);
}

TEST_CASE("a changed file replaces what was remembered of it") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto memo = cache::open_stat_memo(dir.fd());
  learn(*memo, 1, 2);
  memo->save();
  auto changed = file(1);
  changed.mtime.seconds += 60;
  const auto next = cache::open_stat_memo(dir.fd());
  next->remember(changed, sha256("new"), kNow);
  CHECK(next->find(changed) == sha256("new"));
  next->save();
  const auto last = cache::open_stat_memo(dir.fd());
  CHECK(last->find(changed) == sha256("new"));
  CHECK_FALSE(last->find(file(1)));
}

TEST_CASE("a full memo drops what was not used for the longest time") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto build = [&](std::uint64_t use_from, std::uint64_t use_to, std::uint64_t learn_from,
                         std::uint64_t learn_to) {
    const auto memo = cache::open_stat_memo(dir.fd(), 300);
    known(*memo, use_from, use_to);
    learn(*memo, learn_from, learn_to);
    memo->save();
  };
  build(0, 0, 0, 100);
  build(0, 0, 100, 200);
  build(0, 100, 200, 300);  // uses the oldest again
  build(0, 100, 300, 400);  // one too many: 100…199 goes
  const auto memo = cache::open_stat_memo(dir.fd(), 300);
  CHECK(known(*memo, 0, 100) == 100);
  CHECK(known(*memo, 100, 200) == 0);
  CHECK(known(*memo, 200, 400) == 200);
}

TEST_CASE("one build that learns more than fits keeps as much as fits") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto memo = cache::open_stat_memo(dir.fd(), 50);
  learn(*memo, 0, 80);
  memo->save();
  CHECK(known(*cache::open_stat_memo(dir.fd(), 50), 0, 80) == 50);
}

TEST_CASE("a damaged memo is an empty one and is replaced") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto writer = cache::open_stat_memo(dir.fd());
  learn(*writer, 0, 100);
  writer->save();
  const std::string good = memo_bytes(dir);

  SUBCASE("empty") { overwrite_memo(dir, ""); }
  SUBCASE("garbage") { overwrite_memo(dir, std::string(5000, '\x5a')); }
  SUBCASE("cut") { overwrite_memo(dir, std::string_view(good).substr(0, good.size() - 1)); }
  SUBCASE("longer") { overwrite_memo(dir, good + "x"); }
  SUBCASE("another version") {
    std::string other = good;
    other[12] = 9;
    overwrite_memo(dir, other);
  }
  SUBCASE("a FIFO") {
    REQUIRE(::unlinkat(dir.fd(), "stat-memo", 0) == 0);
    REQUIRE(::mkfifoat(dir.fd(), "stat-memo", 0600) == 0);
  }
  const auto memo = cache::open_stat_memo(dir.fd());
  CHECK(known(*memo, 0, 100) == 0);
  learn(*memo, 100, 150);
  memo->save();
  CHECK(known(*cache::open_stat_memo(dir.fd()), 0, 150) == 50);
}

TEST_CASE("any damaged byte behind the header loses entries and never changes a digest") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto writer = cache::open_stat_memo(dir.fd());
  learn(*writer, 0, 20);
  writer->save();
  const std::string good = memo_bytes(dir);
  for (std::size_t at = 40; at < good.size(); at += 3) {
    CAPTURE(at);
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0xff);
    overwrite_memo(dir, bad);
    const auto memo = cache::open_stat_memo(dir.fd());
    CHECK(known(*memo, 0, 20) <= 20);  // known() compares each digest
    learn(*memo, 50, 53);              // enough for a new file
    memo->save();
    const auto repaired = cache::open_stat_memo(dir.fd());
    CHECK(known(*repaired, 0, 20) >= 19);
    CHECK(known(*repaired, 50, 53) == 3);
  }
}

TEST_CASE("zeroed pages after a power failure are no entries") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto writer = cache::open_stat_memo(dir.fd());
  learn(*writer, 0, 100);
  writer->save();
  std::string bytes = memo_bytes(dir);
  std::fill(bytes.begin() + 40, bytes.end(), '\0');
  overwrite_memo(dir, bytes);
  const auto memo = cache::open_stat_memo(dir.fd());
  CHECK(known(*memo, 0, 100) == 0);
  CHECK_FALSE(memo->find({}));
}

TEST_CASE("a store that cannot be written does not fail the build") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto memo = cache::open_stat_memo(dir.fd());
  learn(*memo, 0, 10);
  REQUIRE(::mkdirat(dir.fd(), "stat-memo", 0700) == 0);  // the rename has to fail, for root too
  REQUIRE(::mkdirat(dir.fd(), "stat-memo/x", 0700) == 0);
  memo->save();
  CHECK(known(*memo, 0, 10) == 10);
}

TEST_CASE("several threads find and remember at once") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto old = cache::open_stat_memo(dir.fd());
  learn(*old, 0, 500);
  old->save();
  const auto memo = cache::open_stat_memo(dir.fd());
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        learn(*memo, 1000 + 100 * t, 1100 + 100 * t);
        known(*memo, 0, 500);
      });
    }
  }
  memo->save();
  CHECK(known(*cache::open_stat_memo(dir.fd()), 0, 2000) == 900);
}

TEST_CASE("what a build writes follows what it learned, not how much is remembered") {
  const TempDir dir = TempDir::create("/tmp", "stat-memo-");
  const auto build = [&](std::uint64_t use_to, std::uint64_t from, std::uint64_t to) {
    const auto memo = cache::open_stat_memo(dir.fd());
    CHECK(known(*memo, 0, use_to) == use_to);
    learn(*memo, from, to);
    memo->save();
  };
  build(0, 0, 2000);
  const std::string settled = memo_bytes(dir);
  for (std::uint64_t next = 2000; next < 2200; next += 10) build(50, next, next + 10);
  CHECK(memo_bytes(dir) == settled);
  CHECK(read_file_at(dir.fd(), "stat-memo.recent", 1u << 30).size() < settled.size() / 8);
  CHECK(known(*cache::open_stat_memo(dir.fd()), 0, 2200) == 2200);

  SUBCASE("until there is enough to join") {
    build(50, 2200, 2400);
    CHECK_FALSE(open_at_if_exists(dir.fd(), "stat-memo.recent", O_RDONLY));
    CHECK(known(*cache::open_stat_memo(dir.fd()), 0, 2400) == 2400);
  }
  SUBCASE("and much use of old entries is written down too") {
    build(50, 2200, 2600);    // joined: from now on most of the first entries count as long unused
    build(1000, 2600, 2601);  // until somebody uses them
    CHECK_FALSE(open_at_if_exists(dir.fd(), "stat-memo.recent", O_RDONLY));
  }
  SUBCASE("and a damaged recent file loses its own entries only") {
    const UniqueFd fd = open_at(dir.fd(), "stat-memo.recent", O_WRONLY | O_TRUNC);
    write_all(fd.get(), "imgbmemo");
    CHECK(known(*cache::open_stat_memo(dir.fd()), 0, 2200) == 2000);
  }
}
