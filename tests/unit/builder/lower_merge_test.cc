#include "builder/lower_merge.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/dir_list.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/overlay_mount.h"
#include "tests/support/requires.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

const auto kFlavour = tests::overlay_flavour();

/// Everything a tree shows: path to type, mode, owner, time, content or target, attributes.
void describe(int dir, const std::string& prefix, std::map<std::string, std::string>& out) {
  std::vector<std::string> names;
  list_dir(dir, [&](const DirEntry& entry) { names.push_back(entry.name); });
  for (const auto& name : names) {
    struct stat info {};
    REQUIRE(::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0);
    std::string text = cat(info.st_mode, " ", info.st_uid, " ", info.st_gid, " ", info.st_mtim.tv_sec, ".",
                           info.st_mtim.tv_nsec);
    const std::string path = prefix + name;
    if (S_ISREG(info.st_mode)) {
      const UniqueFd file = open_at(dir, name, O_RDONLY);
      text += cat(" ", read_file(file.get(), 1000, name));
      char value[32];
      const ssize_t size = ::fgetxattr(file.get(), "user.test", value, sizeof value);
      if (size > 0) text += cat(" x=", std::string_view(value, static_cast<std::size_t>(size)));
    } else if (S_ISLNK(info.st_mode)) {
      char target[100];
      const ssize_t size = ::readlinkat(dir, name.c_str(), target, sizeof target);
      text += cat(" -> ", std::string_view(target, static_cast<std::size_t>(size)));
    } else if (S_ISDIR(info.st_mode)) {
      const UniqueFd inside = open_at(dir, name, O_RDONLY | O_DIRECTORY);
      char value[32];
      const ssize_t size = ::fgetxattr(inside.get(), "user.test", value, sizeof value);
      if (size > 0) text += cat(" x=", std::string_view(value, static_cast<std::size_t>(size)));
      describe(inside.get(), path + "/", out);
    }
    out[path] = text;
  }
}

/// Layers as commands leave them: each is what random changes through an overlay of those below put into its
/// upper directory.
class Layers {
 public:
  Layers(unsigned seed, int count)
      : random_(seed), dir_(TempDir::create("/var/tmp", "imgbuild-merge-test-")) {
    for (int i = 0; i < count; ++i) {
      layers_.push_back(make(cat("l", i)));
      const UniqueFd work = make(cat("w", i));
      const UniqueFd empty = make("empty");
      OverlayDirs dirs{.lower = top_first(0, i), .upper = layers_.back().get(), .work = work.get()};
      if (i == 0) dirs.lower = {empty.get()};
      const UniqueFd root = mount_overlay(dirs, kFlavour);
      for (int change = 0; change < 12; ++change) this->change(root.get());
    }
  }

  UniqueFd make(const std::string& name) const {
    ensure_dir_at(dir_.fd(), name, 0755);
    return open_at(dir_.fd(), name, O_RDONLY | O_DIRECTORY);
  }
  std::vector<int> top_first(int first, int last) const {
    std::vector<int> out;
    for (int i = last; i-- > first;) out.push_back(layers_[static_cast<std::size_t>(i)].get());
    return out;
  }
  int fd(int layer) const { return layers_[static_cast<std::size_t>(layer)].get(); }

  /// What the first `count` layers show, as the indexes of a store know it.
  oci::FileTree tree(int count) const {
    if (count == 0) return {};
    oci::LayerIndex index;
    for (const auto& [path, text] : shown(top_first(0, count))) {
      oci::LayerEntry entry;
      entry.path = path;
      if (S_ISDIR(static_cast<mode_t>(std::stoul(text)))) entry.attributes.type = oci::FileType::directory;
      index.entries.push_back(std::move(entry));
    }
    return oci::FileTree().apply(index, oci::DiffId{sha256("")});
  }

  std::map<std::string, std::string> shown(const std::vector<int>& lower) const {
    OverlayDirs dirs;
    dirs.lower = lower;
    const UniqueFd empty = make("empty");
    if (dirs.lower.size() == 1) dirs.lower.push_back(empty.get());  // one alone is no overlay
    const UniqueFd root = mount_overlay(dirs, kFlavour);
    std::map<std::string, std::string> out;
    describe(open_at(root.get(), ".", O_RDONLY | O_DIRECTORY).get(), "", out);
    return out;
  }

 private:
  int number(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }
  std::string name() { return std::string(1, "abc"[number(3)]); }
  std::string path() {
    std::string out = name();
    for (int depth = number(3); depth > 0; --depth) out += "/" + name();
    return out;
  }

  /// Most of them fail, since things are not there or of another type; that is fine.
  void change(int root) {
    const std::string at = path(), other = path();
    switch (number(11)) {
      case 0:
      case 1: {
        const UniqueFd file(::openat(root, at.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644));
        if (file) write_all(file.get(), cat(number(1000)), at);
        break;
      }
      case 2:
      case 3:
        (void)::mkdirat(root, at.c_str(), 0755);
        break;
      case 4:
        (void)::unlinkat(root, at.c_str(), 0);
        break;
      case 5:
        try {
          remove_tree_at(root, at);
        } catch (const Error&) {
        }
        break;
      case 6:
        (void)::renameat(root, at.c_str(), root, other.c_str());
        break;
      case 7:
        (void)::symlinkat(other.c_str(), root, at.c_str());
        break;
      case 8:
        (void)::fchmodat(root, at.c_str(), static_cast<mode_t>(0500 + number(0277)), 0);
        break;
      case 9:
        (void)::linkat(root, at.c_str(), root, other.c_str(), 0);
        break;
      default: {
        const UniqueFd file(::openat(root, at.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
        if (file && ::fsetxattr(file.get(), "user.test", "v", 1, 0) != 0) break;
        if (file) (void)::fchown(file.get(), static_cast<uid_t>(number(3)), 7);
      }
    }
  }

  std::mt19937 random_;
  TempDir dir_;
  std::vector<UniqueFd> layers_;
};

}  // namespace

TEST_CASE("merged layers show what they show one on top of the other (SBX-35)") {
  if (tests::lacks_root()) return;
  for (unsigned seed = 1; seed <= 25; ++seed) {
    CAPTURE(seed);
    const Layers layers(seed, 9);
    const auto expected = layers.shown(layers.top_first(0, 9));
    for (const auto& range : {std::pair(0, 9), {2, 6}, {1, 2}, {4, 9}, {0, 3}}) {
      const int first = range.first, last = range.second;  // clang 14 captures no structured bindings
      CAPTURE(first);
      CAPTURE(last);
      const oci::FileTree below_tree = layers.tree(first);
      const UniqueFd merged = layers.make(cat("m", first, "-", last));
      for (int i = first; i < last; ++i) merge_lower(layers.fd(i), merged.get(), below_tree, kFlavour);
      auto lower = layers.top_first(last, 9);
      lower.push_back(merged.get());
      const auto below = layers.top_first(0, first);
      lower.insert(lower.end(), below.begin(), below.end());
      CHECK(layers.shown(lower) == expected);
    }
  }
}
