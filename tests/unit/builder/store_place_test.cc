#include "builder/store_place.h"

#include <doctest/doctest.h>

#include <map>

using namespace imgbuild::builder;

namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

// As a container shows it: a root on an overlay, a volume, and single files bound from the host's disk.
const std::string kContainer =
    "600 500 0:50 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w\n"
    "601 600 0:53 / /proc rw,nosuid - proc proc rw\n"
    "602 600 0:54 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k\n"
    "603 602 0:55 / /dev/shm rw,nosuid - tmpfs shm rw,size=65536k\n"
    "604 600 8:1 /docker/hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw\n"
    "605 600 8:1 /volumes/a /my\\040data rw,relatime - ext4 /dev/sda1 rw\n"
    "606 600 8:2 /volumes/b /archive ro,relatime - xfs /dev/sdb1 rw\n"
    "607 600 0:60 / /scratch rw,relatime - tmpfs tmpfs rw\n"
    "608 600 0:61 / /net rw - nfs4 server:/x rw\n"
    "a line of nonsense - \n";

std::optional<std::string> find(const std::map<std::string, std::uint64_t>& room) {
  return find_store_place(kContainer, [&](const std::string& path) {
    const auto found = room.find(path);
    return found == room.end() ? 0 : found->second;
  });
}

}  // namespace

TEST_CASE("a volume can carry the store where the root of a container cannot (RLS-22)") {
  CHECK(find({{"/my data", 5 * kGiB}, {"/scratch", 50 * kGiB}, {"/dev/shm", 99 * kGiB}}) == "/my data");
}

TEST_CASE("memory does where there is no volume with room (RLS-22)") {
  CHECK(find({{"/my data", kGiB / 2}, {"/scratch", 2 * kGiB}}) == "/scratch");
}

TEST_CASE("what is read-only, remote, the system's or not ours carries no store") {
  CHECK_FALSE(find({{"/archive", 9 * kGiB}, {"/net", 9 * kGiB}, {"/etc/hosts", 9 * kGiB}, {"/", 9 * kGiB}}));
  CHECK_FALSE(find_store_place("", [](const std::string&) { return kGiB; }));
}
