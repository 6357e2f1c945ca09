// Input: a byte, then a layer that is extracted into a fresh directory, on a tree that has links. Nothing
// beside that directory may change, whatever the layer says; a file next to it watches.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "oci/layer_applier.h"
#include "oci/tar_format.h"

using namespace imgbuild;

namespace {

void repair_checksums(std::string& bytes) {
  oci::tar::Block block;
  for (std::size_t at = 0; at + block.size() <= bytes.size(); at += block.size()) {
    std::memcpy(block.data(), bytes.data() + at, block.size());
    if (!oci::tar::get(block, oci::tar::kMagic).starts_with("ustar")) continue;
    oci::tar::seal(block);
    std::memcpy(bytes.data() + at, block.data(), block.size());
  }
}

struct Place {
  TempDir top = TempDir::create("/dev/shm", "apply-fuzz-");
  std::string canary = "untouched";
  Place() {
    const UniqueFd file = open_at(top.fd(), "canary", O_WRONLY | O_CREAT | O_EXCL, 0600);
    write_all(file.get(), canary);
  }
  void check() const {
    struct stat info {};
    if (::fstatat(top.fd(), "canary", &info, AT_SYMLINK_NOFOLLOW) != 0 || info.st_nlink != 1 ||
        (info.st_mode & 07777) != 0600 || read_file_at(top.fd(), "canary", 100) != canary)
      std::abort();
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Place place;
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  repair_checksums(bytes);
  ensure_dir_at(place.top.fd(), "root", 0700);
  try {
    const UniqueFd root = open_at(place.top.fd(), "root", O_RDONLY | O_DIRECTORY);
    StringSource source(std::move(bytes));
    (void)oci::apply_layer(
        source, root.get(), oci::FileTree(),
        {.keep_owner = false, .make_devices = false, .limits = {.entries = 200, .file_size = 1 << 20}});
  } catch (const Error&) {
  }
  remove_tree_at(place.top.fd(), "root");
  place.check();
  return 0;
}
