#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/file_copy.h"
#include "base/file_lock.h"
#include "base/strings.h"
#include "oci/archive_content.h"
#include "oci/archive_export.h"
#include "oci/image_graph.h"
#include "oci/layout.h"
#include "oci/media_type.h"

namespace imgbuild::oci {

namespace {

/// A reader sees the old or the new file.
void replace_file(int dir, const std::string& name, std::uint32_t mode, std::string_view text) {
  AtomicFile file(dir, name, mode);
  write_all(file.fd(), text, name);
  file.commit();
}

void fill_blob(int to, const BlobStore& blobs, const Descriptor& blob, const std::stop_token& stop) {
  const UniqueFd file = blobs.open_blob_file(blob.digest);
  if (file) {
    if (!try_reflink(file.get(), to)) copy_file_bytes(file.get(), to, blob.size, blob.digest.str(), stop);
    return;
  }
  const auto source = blobs.open_blob(blob.digest);
  std::vector<char> buffer(kChunkSize);
  while (const std::size_t got = source->read(buffer)) {
    if (stop.stop_requested()) throw Cancelled();
    write_all(to, {buffer.data(), got}, blob.digest.str());
  }
}

bool has_size(const struct stat& info, std::uint64_t size) {
  return S_ISREG(info.st_mode) && static_cast<std::uint64_t>(info.st_size) == size;
}

void put_blob_file(int dir, const BlobStore& blobs, const Descriptor& blob, const std::stop_token& stop) {
  const std::string name = blob.digest.hex();
  struct stat info {};
  if (::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && has_size(info, blob.size)) return;
  AtomicFile file(dir, name, 0644);
  fill_blob(file.fd(), blobs, blob, stop);
  if (::fstat(file.fd(), &info) != 0 || !has_size(info, blob.size))
    throw IntegrityError(cat("blob ", blob.digest.str(), " changed its size"));
  if (::fchmod(file.fd(), 0444) != 0) throw SystemError(errno, "change the mode of", name);
  file.commit();
}

std::string name_of(const Descriptor& entry) {
  for (const auto key : {kContainerdNameAnnotation, kRefNameAnnotation}) {
    const auto found = entry.annotations.find(std::string(key));
    if (found != entry.annotations.end()) return found->second;
  }
  return {};
}

/// The old entries that stay, then ours: those of the same name, and an unnamed one of the same digest, give
/// way.
std::string merge_index(const UniqueFd& old_file, Index ours) {
  if (!old_file) return ours.serialize(false);
  Index merged = Index::parse(read_file(old_file.get(), kMaxManifestSize, "index.json"), kOciIndex);
  std::erase_if(merged.manifests, [&](const Descriptor& entry) {
    return std::any_of(ours.manifests.begin(), ours.manifests.end(), [&](const Descriptor& fresh) {
      return name_of(entry) == name_of(fresh) && (!name_of(fresh).empty() || entry.digest == fresh.digest);
    });
  });
  merged.manifests.insert(merged.manifests.end(), ours.manifests.begin(), ours.manifests.end());
  return merged.serialize(false);
}

}  // namespace

void export_directory(const ExportRequest& request, const BlobStore& blobs, const std::string& path,
                      std::stop_token stop) {
  const ArchiveContent content = collect_archive(request, blobs);
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) throw SystemError(errno, "create directory", path);
  const UniqueFd top = open_path(path, O_RDONLY | O_DIRECTORY);
  const FileLock lock =
      FileLock::acquire(top.get(), "index.json.lock", FileLock::Kind::exclusive, {.stop = stop});
  if (const UniqueFd marker = open_at_if_exists(top.get(), "oci-layout", O_RDONLY | O_NONBLOCK)) {
    check_layout_marker(read_file(marker.get(), 4096, "oci-layout"));
  } else {
    replace_file(top.get(), "oci-layout", 0444, kLayoutMarker);
  }
  ensure_dir_at(top.get(), "blobs", 0755);
  const UniqueFd above = open_at(top.get(), "blobs", O_RDONLY | O_DIRECTORY);
  ensure_dir_at(above.get(), "sha256", 0755);
  const UniqueFd dir = open_at(above.get(), "sha256", O_RDONLY | O_DIRECTORY);
  for (const auto& [hex, blob] : content.blobs) put_blob_file(dir.get(), blobs, blob, stop);
  if (!content.docker_manifest.empty())
    replace_file(top.get(), "manifest.json", 0644, content.docker_manifest);
  const UniqueFd old_index = open_at_if_exists(top.get(), "index.json", O_RDONLY | O_NONBLOCK);
  replace_file(top.get(), "index.json", 0644, merge_index(old_index, content.index));
}

}  // namespace imgbuild::oci
