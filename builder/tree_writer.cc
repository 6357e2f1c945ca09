#include "builder/tree_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/file_copy.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "oci/node_maker.h"

namespace imgbuild::builder {

namespace {

using oci::FileAttributes;
using oci::FileNode;
using oci::FileNodePtr;
using oci::FileType;

class Writer {
 public:
  explicit Writer(const TreeWriteOptions& options)
      : options_(options), metadata_(options.metadata), maker_(metadata_) {}

  /// `from` may be missing: then `dir` is empty.
  void directory(int dir, const std::string& path, const FileNode* from, const FileNode& to) {
    if (from != nullptr) {
      for (const auto& [name, node] : from->children)
        if (!to.children.contains(name)) remove_tree_at(dir, name);
    }
    for (const auto& [name, node] : to.children) {
      const FileNode* old = nullptr;
      if (from != nullptr) {
        const auto found = from->children.find(name);
        if (found != from->children.end()) old = found->second.get();
      }
      if (old != node.get()) child(dir, path.empty() ? name : cat(path, "/", name), name, old, *node);
    }
    metadata_.write(dir, to.attributes, path);
  }

 private:
  void child(int dir, const std::string& path, const std::string& name, const FileNode* old,
             const FileNode& node) {
    const bool directory_now = node.attributes.type == FileType::directory;
    const bool directory_before = old != nullptr && old->attributes.type == FileType::directory;
    if (old != nullptr && !(directory_now && directory_before)) remove_tree_at(dir, name);
    if (directory_now) {
      if (!directory_before && ::mkdirat(dir, name.c_str(), 0700) != 0)
        throw SystemError(errno, "create directory", path);
      const UniqueFd inside = open_at(dir, name, O_RDONLY | O_DIRECTORY);
      directory(inside.get(), path, directory_before ? old : nullptr, node);
    } else if (node.attributes.type == FileType::regular) {
      file(dir, path, name, node, node.attributes);
    } else if (is_device(node.attributes.type) && !options_.make_devices) {
      FileAttributes placeholder = node.attributes;
      placeholder.type = FileType::regular;
      file(dir, path, name, node, placeholder);
    } else {
      maker_.make_special(dir, name, node.attributes, path);
    }
  }

  void file(int dir, const std::string& path, const std::string& name, const FileNode& node,
            const FileAttributes& attributes) {
    const UniqueFd fd = open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (attributes.size > 0) {
      if (!node.origin) throw Error(cat("nobody knows the bytes of ", printable(path)));
      copy_file_content(options_.open(*node.origin).get(), fd.get(), attributes.size, path);
    }
    metadata_.write(fd.get(), attributes, path);
  }

  const TreeWriteOptions& options_;
  oci::MetadataWriter metadata_;
  oci::NodeMaker maker_;
};

}  // namespace

void copy_file_content(int from, int to, std::uint64_t size, std::string_view name) {
  if (try_reflink(from, to)) return;
  off_t end = 0;
  for (;;) {
    const off_t begin = ::lseek(from, end, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) break;  // only a hole is left
    if (begin < 0) throw SystemError(errno, "read", name);
    end = ::lseek(from, begin, SEEK_HOLE);
    if (end < 0 || ::lseek(from, begin, SEEK_SET) < 0 || ::lseek(to, begin, SEEK_SET) < 0)
      throw SystemError(errno, "read", name);
    copy_file_bytes(from, to, static_cast<std::uint64_t>(end - begin), name);
  }
  if (::ftruncate(to, static_cast<off_t>(size)) != 0) throw SystemError(errno, "resize", name);
}

void write_tree(int root, const oci::FileTree& from, const oci::FileTree& to,
                const TreeWriteOptions& options) {
  Writer(options).directory(root, "", from.root().get(), *to.root());
}

}  // namespace imgbuild::builder
