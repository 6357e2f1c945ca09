#include "base/work_claim.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "base/lock_poll.h"

namespace imgbuild {

namespace {

constexpr std::uint64_t kSlots = 4096;

/// One line of the table. Keys that share a line overwrite one another.
struct Slot {
  std::uint64_t hash = 0;
  std::uint32_t owner = 0;
  std::uint32_t failures = 0;
};
static_assert(sizeof(Slot) == 16);

off_t place_of(std::uint64_t hash) { return static_cast<off_t>(hash % kSlots * sizeof(Slot)); }

/// Empty when the line belongs to another key.
Slot read_slot(int fd, std::uint64_t hash) {
  Slot slot;
  if (::pread(fd, &slot, sizeof slot, place_of(hash)) != static_cast<ssize_t>(sizeof slot) ||
      slot.hash != hash)
    return {hash, 0, 0};
  return slot;
}

void write_slot(int fd, const Slot& slot) {
  (void)!::pwrite(fd, &slot, sizeof slot, place_of(slot.hash));  // a full disk must not stop anybody
}

std::uint64_t hash_of(const Digest& key) {
  std::uint64_t hash = 0;
  std::memcpy(&hash, key.bytes().data(), sizeof hash);
  return hash;
}

}  // namespace

WorkClaim WorkClaim::acquire(int dir, const std::string& name, const Digest& key, const LockWait& wait) {
  const std::uint64_t hash = hash_of(key);
  UniqueFd fd = open_at(dir, name, O_RDWR | O_CREAT, 0600);
  const Slot before = read_slot(fd.get(), hash);
  bool waited = false;
  poll_for_lock(
      wait,
      [&] {
        if (try_lock(fd.get(), true, range_of_key(hash), name)) return true;
        waited = true;
        return false;
      },
      [&] { return static_cast<pid_t>(read_slot(fd.get(), hash).owner); });
  Slot slot = read_slot(fd.get(), hash);
  const bool owner_failed = waited && slot.failures != before.failures;
  slot.owner = static_cast<std::uint32_t>(::getpid());
  write_slot(fd.get(), slot);
  return WorkClaim(FileLock(std::move(fd)), hash, owner_failed);
}

std::optional<WorkClaim> WorkClaim::try_acquire(int dir, const std::string& name, const Digest& key) {
  const std::uint64_t hash = hash_of(key);
  UniqueFd fd = open_at(dir, name, O_RDWR | O_CREAT, 0600);
  if (!try_lock(fd.get(), true, range_of_key(hash), name)) return std::nullopt;
  Slot slot = read_slot(fd.get(), hash);
  slot.owner = static_cast<std::uint32_t>(::getpid());
  write_slot(fd.get(), slot);
  return WorkClaim(FileLock(std::move(fd)), hash, false);
}

void WorkClaim::fail() noexcept {
  Slot slot = read_slot(lock_.fd(), hash_);
  ++slot.failures;
  write_slot(lock_.fd(), slot);
}

}  // namespace imgbuild
