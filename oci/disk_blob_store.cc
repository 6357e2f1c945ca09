#include "oci/disk_blob_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"

namespace imgbuild::oci {

namespace {

/// `need`: how many bytes the blob has so far (STO-33).
Error explain_write_error(int error, int dir, std::uint64_t need) {
  if (error == EROFS) {
    return Error("the store is read-only: what this build makes cannot be kept", ExitCode::system)
        .with_note("name a store that can be written with --root");
  }
  if (error != ENOSPC && error != EDQUOT) return SystemError(error, "write blob");
  struct statvfs space {};
  std::string have = "too little is left";
  if (::fstatvfs(dir, &space) == 0) {
    const bool no_names = space.f_files != 0 && space.f_favail == 0;
    have = no_names ? "its file system has no room for another file"
                    : cat(human_size(std::uint64_t{space.f_bavail} * space.f_frsize), " is left");
  }
  std::array<char, 4096> path{};
  const ssize_t length = ::readlink(cat("/proc/self/fd/", dir).c_str(), path.data(), path.size());
  const std::string where =
      length > 0 ? cat(" at ", printable({path.data(), static_cast<std::size_t>(length)})) : "";
  Error full(cat("the store is full: a blob needs more than ", human_size(need), ", ", have, where),
             ExitCode::system);
  full.add_note("free space on its file system, or put the store elsewhere with --root");
  return full;
}

bool is_believed(const struct stat& info, std::uint64_t epoch) {
  if (info.st_mtim.tv_nsec != 0) return false;
  return info.st_mtim.tv_sec == 0 || info.st_mtim.tv_sec == static_cast<time_t>(epoch);
}

void believe(int file, std::uint64_t epoch) noexcept {
  const struct timespec times[2] = {{0, UTIME_OMIT}, {static_cast<time_t>(epoch), 0}};
  (void)::futimens(file, times);  // without it the blob is only checked more often
}

}  // namespace

/// Sets a blob aside when its bytes turn out wrong, so that it counts as missing (STO-9).
class DiskBlobStore::Reader final : public Source {
 public:
  Reader(const DiskBlobStore& store, UniqueFd file, std::uint64_t size, const Digest& digest)
      : store_(store), digest_(digest), identity_(file.duplicate()) {
    auto bytes = std::make_unique<FileSource>(std::move(file), digest.str());
    from_ = std::make_unique<VerifySource>(std::move(bytes), digest, size, cat("blob ", digest.str()));
  }

  std::size_t read(std::span<char> buffer) override {
    if (store_.options_.stop.stop_requested()) throw Cancelled();
    try {
      return from_->read(buffer);
    } catch (const IntegrityError&) {
      store_.put_aside(digest_, identity_.get());
      throw;
    }
  }

 private:
  const DiskBlobStore& store_;
  Digest digest_;
  UniqueFd identity_;
  std::unique_ptr<Source> from_;
};

class DiskBlobStore::Writer final : public BlobWriter {
 public:
  explicit Writer(const DiskBlobStore& store) : store_(store), blobs_(store.blobs_.get()) {
    fd_ = UniqueFd(::openat(dir().work_fd(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0444));
    if (fd_) return;
    if (errno == ENOSPC || errno == EDQUOT || errno == EROFS) throw explain_write_error(errno, blobs_, 0);
    // Not every file system has unnamed files; then the name is removed if this is never committed.
    const std::string name = dir().work_name();
    fd_ = open_at(dir().work_fd(), name, O_WRONLY | O_CREAT | O_EXCL, 0444);
    name_ = name;
  }

  ~Writer() override {
    if (!name_.empty()) (void)::unlinkat(dir().work_fd(), name_.c_str(), 0);
  }

  void write(std::string_view bytes) override {
    if (store_.options_.stop.stop_requested()) throw Cancelled();
    if (store_.options_.guard != nullptr) store_.options_.guard->before_write(bytes.size());
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
    Syncer* const syncer = store_.options_.syncer;
    if (syncer != nullptr) sync(*syncer);
    believe(fd_.get(), syncer != nullptr ? 0 : store_.options_.epoch);
    store_.hold(digest);
    const std::string target = digest.hex();
    const int linked = name_.empty() ? ::linkat(AT_FDCWD, cat("/proc/self/fd/", fd_.get()).c_str(), blobs_,
                                                target.c_str(), AT_SYMLINK_FOLLOW)
                                     : ::linkat(dir().work_fd(), name_.c_str(), blobs_, target.c_str(), 0);
    if (linked == 0) return;
    if (errno != EEXIST) throw explain_write_error(errno, blobs_, written_);
    replace_if_worse(target);
  }

 private:
  void sync(Syncer& syncer) const {
    try {
      syncer.data(fd_.get(), "blob");
    } catch (const SystemError& error) {
      throw explain_write_error(error.error_number(), blobs_,
                                written_);  // a full disk may be noticed only now
    }
  }

  /// Somebody else won; theirs is kept unless it is of another length or would have to be checked.
  void replace_if_worse(const std::string& target) {
    struct stat ours {
    }, theirs{};
    if (::fstat(fd_.get(), &ours) == 0 &&
        ::fstatat(blobs_, target.c_str(), &theirs, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(theirs.st_mode) &&
        ours.st_size == theirs.st_size && is_believed(theirs, store_.options_.epoch)) {
      return;
    }
    const std::string fresh = dir().work_name();
    const int work = dir().work_fd();
    if (::linkat(AT_FDCWD, cat("/proc/self/fd/", fd_.get()).c_str(), work, fresh.c_str(),
                 AT_SYMLINK_FOLLOW) != 0 ||
        ::renameat(work, fresh.c_str(), blobs_, target.c_str()) != 0) {
      throw explain_write_error(errno, blobs_, written_);
    }
  }

  const StoreDir& dir() const noexcept { return store_.store_; }

  const DiskBlobStore& store_;
  int blobs_;
  UniqueFd fd_;
  std::string name_;  ///< only without unnamed files
  std::uint64_t written_ = 0;
};

DiskBlobStore::DiskBlobStore(const StoreDir& store, DiskBlobStoreOptions options)
    : store_(store), options_(std::move(options)) {
  root_ = open_at(store.fd(), ".", O_RDONLY | O_DIRECTORY);
  ensure_dir_at(store.fd(), "blobs", 0700);
  const UniqueFd top = open_at(store.fd(), "blobs", O_RDONLY | O_DIRECTORY);
  ensure_dir_at(top.get(), "sha256", 0700);
  blobs_ = open_at(top.get(), "sha256", O_RDONLY | O_DIRECTORY);
}

void DiskBlobStore::hold(const Digest& digest) const {
  if (options_.leases != nullptr) options_.leases->hold(KeyLocks::key_of(digest));
}

/// Best effort: the error that is on its way says more than a failed rename. A file that took the place of
/// the wrong one meanwhile stays.
void DiskBlobStore::put_aside(const Digest& digest, int file) const noexcept {
  if (options_.look_only) return;
  struct stat wrong {
  }, named{};
  const std::string name = digest.hex();
  if (::fstat(file, &wrong) != 0 || ::fstatat(blobs_.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0 ||
      wrong.st_ino != named.st_ino) {
    return;
  }
  (void)::mkdirat(root_.get(), "corrupt", 0700);
  if (::renameat(blobs_.get(), name.c_str(), root_.get(), cat("corrupt/", name).c_str()) != 0) return;
  const std::lock_guard guard(mutex_);
  set_aside_.push_back(digest);
}

std::vector<Digest> DiskBlobStore::set_aside() const {
  const std::lock_guard guard(mutex_);
  return set_aside_;
}

std::optional<std::uint64_t> DiskBlobStore::find_blob(const Digest& digest) const {
  hold(digest);
  struct stat info {};
  if (::fstatat(blobs_.get(), digest.hex().c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::nullopt;
    throw SystemError(errno, "look up blob", digest.str());
  }
  if (!S_ISREG(info.st_mode))
    throw IntegrityError(cat("the store holds something else than a file for ", digest.str()));
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (!is_believed(info, options_.epoch) && !check_blob(digest, true)) return std::nullopt;
  return size;
}

bool DiskBlobStore::check_blob(const Digest& digest, bool repair) const {
  UniqueFd file = open_at_if_exists(blobs_.get(), digest.hex(), O_RDONLY | O_NONBLOCK);
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  const UniqueFd same = file.duplicate();
  try {
    VerifySource verified(std::make_unique<FileSource>(std::move(file), digest.str()), digest,
                          static_cast<std::uint64_t>(info.st_size), digest.str());
    std::vector<char> buffer(kChunkSize);
    while (verified.read(buffer) != 0) {
    }
  } catch (const IntegrityError&) {
    if (repair) put_aside(digest, same.get());
    return false;
  }
  if (repair && !is_believed(info, options_.epoch)) believe(same.get(), options_.epoch);
  return true;
}

UniqueFd DiskBlobStore::open_file(const Digest& digest) const {
  hold(digest);
  UniqueFd file = open_at_if_exists(blobs_.get(), digest.hex(), O_RDONLY | O_NONBLOCK);
  if (!file) throw Error(cat("blob ", digest.str(), " is not in the store"));
  return file;
}

UniqueFd DiskBlobStore::open_blob_file(const Digest& digest) const {
  if (!find_blob(digest))
    throw Error(cat("blob ", digest.str(), " is not in the store"));  // looks whether to believe
  return open_file(digest);
}

std::unique_ptr<Source> DiskBlobStore::open_blob(const Digest& digest) const {
  UniqueFd file = open_file(digest);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) throw SystemError(errno, "stat blob", digest.str());
  return std::make_unique<Reader>(*this, std::move(file), static_cast<std::uint64_t>(info.st_size), digest);
}

std::unique_ptr<BlobWriter> DiskBlobStore::create() { return std::make_unique<Writer>(*this); }

void DiskBlobStore::sync_published() {
  if (options_.syncer != nullptr) options_.syncer->directory(blobs_.get(), "the blob directory");
}

}  // namespace imgbuild::oci
