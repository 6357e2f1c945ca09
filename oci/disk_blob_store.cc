#include "oci/disk_blob_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"

namespace imgbuild::oci {

namespace {

/// `need`: how many bytes the blob has so far (STO-33).
Error explain_write_error(int error, int dir, std::uint64_t need) {
  if (error != ENOSPC && error != EDQUOT) return SystemError(error, "write blob");
  struct statvfs space {};
  std::string have = "too little";
  if (::fstatvfs(dir, &space) == 0) have = human_size(std::uint64_t{space.f_bavail} * space.f_frsize);
  std::array<char, 4096> path{};
  const ssize_t length = ::readlink(cat("/proc/self/fd/", dir).c_str(), path.data(), path.size());
  const std::string where =
      length > 0 ? cat(" at ", printable({path.data(), static_cast<std::size_t>(length)})) : "";
  Error full(
      cat("the store is full: a blob needs more than ", human_size(need), ", ", have, " is left", where),
      ExitCode::system);
  full.add_note("free space on its file system, or put the store elsewhere with --root");
  return full;
}

/// Sets a blob aside when its bytes turn out wrong, so that it counts as missing (STO-9).
class QuarantiningSource final : public Source {
 public:
  QuarantiningSource(std::unique_ptr<Source> from, int root, int blobs, const Digest& digest)
      : from_(std::move(from)), root_(root), blobs_(blobs), digest_(digest) {}

  std::size_t read(std::span<char> buffer) override {
    try {
      return from_->read(buffer);
    } catch (const IntegrityError&) {
      set_aside();
      throw;
    }
  }

 private:
  /// Best effort: the error that is on its way says more than a failed rename.
  void set_aside() const noexcept {
    (void)::mkdirat(root_, "corrupt", 0700);
    const std::string name = digest_.hex();
    (void)::renameat(blobs_, name.c_str(), root_, cat("corrupt/", name).c_str());
  }

  std::unique_ptr<Source> from_;
  int root_;
  int blobs_;
  Digest digest_;
};

class DiskBlobWriter final : public BlobWriter {
 public:
  DiskBlobWriter(int blobs, int ingest, Durability durability)
      : blobs_(blobs), ingest_(ingest), durability_(durability) {
    fd_ = UniqueFd(::openat(ingest, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0444));
    if (fd_) return;
    // Not every file system has unnamed files; then the name is removed if this is never committed.
    const std::string name = random_name();
    fd_ = open_at(ingest, name, O_WRONLY | O_CREAT | O_EXCL, 0444);
    name_ = name;
  }

  ~DiskBlobWriter() override {
    if (!name_.empty()) (void)::unlinkat(ingest_, name_.c_str(), 0);
  }

  void write(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t put = ::write(fd_.get(), bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) throw explain_write_error(errno, blobs_, written_ + bytes.size());
      written_ += static_cast<std::uint64_t>(put);
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
  }

  void commit(const Digest& digest) override {
    if (::fchmod(fd_.get(), 0444) != 0)
      throw SystemError(errno, "change the mode of a blob");  // whatever the umask is
    // A failed sync is final for this blob: the kernel may already have dropped the pages (FLT-9).
    if (durability_ == Durability::safe && ::fdatasync(fd_.get()) != 0)
      throw explain_write_error(errno, blobs_, written_);
    const std::string target = digest.hex();
    const int linked = name_.empty() ? ::linkat(AT_FDCWD, cat("/proc/self/fd/", fd_.get()).c_str(), blobs_,
                                                target.c_str(), AT_SYMLINK_FOLLOW)
                                     : ::linkat(ingest_, name_.c_str(), blobs_, target.c_str(), 0);
    if (linked == 0) return;
    if (errno != EEXIST) throw explain_write_error(errno, blobs_, written_);
    replace_if_short(target);
  }

 private:
  /// Somebody else won; theirs is kept unless a power loss left it at another length.
  void replace_if_short(const std::string& target) {
    struct stat ours {
    }, theirs{};
    if (::fstat(fd_.get(), &ours) == 0 &&
        ::fstatat(blobs_, target.c_str(), &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
        ours.st_size == theirs.st_size) {
      return;
    }
    const std::string fresh = random_name();
    if (::linkat(AT_FDCWD, cat("/proc/self/fd/", fd_.get()).c_str(), ingest_, fresh.c_str(),
                 AT_SYMLINK_FOLLOW) != 0 ||
        ::renameat(ingest_, fresh.c_str(), blobs_, target.c_str()) != 0) {
      throw explain_write_error(errno, blobs_, written_);
    }
  }

  int blobs_;
  int ingest_;
  Durability durability_;
  UniqueFd fd_;
  std::string name_;  ///< only without unnamed files
  std::uint64_t written_ = 0;
};

}  // namespace

DiskBlobStore::DiskBlobStore(int store_root, Durability durability) : durability_(durability) {
  root_ = open_at(store_root, ".", O_RDONLY | O_DIRECTORY);
  ensure_dir_at(store_root, "ingest", 0700);
  ensure_dir_at(store_root, "blobs", 0700);
  const UniqueFd top = open_at(store_root, "blobs", O_RDONLY | O_DIRECTORY);
  ensure_dir_at(top.get(), "sha256", 0700);
  blobs_ = open_at(top.get(), "sha256", O_RDONLY | O_DIRECTORY);
  ingest_ = open_at(store_root, "ingest", O_RDONLY | O_DIRECTORY);
}

std::optional<std::uint64_t> DiskBlobStore::find_blob(const Digest& digest) const {
  struct stat info {};
  if (::fstatat(blobs_.get(), digest.hex().c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::nullopt;
    throw SystemError(errno, "look up blob", digest.str());
  }
  if (!S_ISREG(info.st_mode))
    throw IntegrityError(cat("the store holds something else than a file for ", digest.str()));
  return static_cast<std::uint64_t>(info.st_size);
}

UniqueFd DiskBlobStore::open_blob_file(const Digest& digest) const {
  UniqueFd file = open_at_if_exists(blobs_.get(), digest.hex(), O_RDONLY | O_NONBLOCK);
  if (!file) throw Error(cat("blob ", digest.str(), " is not in the store"));
  return file;
}

std::unique_ptr<Source> DiskBlobStore::open_blob(const Digest& digest) const {
  const auto size = find_blob(digest);
  UniqueFd file = open_blob_file(digest);
  auto bytes = std::make_unique<FileSource>(std::move(file), digest.str());
  auto verified =
      std::make_unique<VerifySource>(std::move(bytes), digest, size.value_or(0), cat("blob ", digest.str()));
  return std::make_unique<QuarantiningSource>(std::move(verified), root_.get(), blobs_.get(), digest);
}

std::unique_ptr<BlobWriter> DiskBlobStore::create() {
  return std::make_unique<DiskBlobWriter>(blobs_.get(), ingest_.get(), durability_);
}

void DiskBlobStore::sync_published() {
  if (durability_ == Durability::safe && ::fsync(blobs_.get()) != 0)
    throw SystemError(errno, "sync", "the blob directory");
}

}  // namespace imgbuild::oci
