#include "builder/copy_archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <limits>
#include <memory>
#include <new>

#include "base/error.h"
#include "base/stream.h"
#include "base/strings.h"
#include "builder/lazy_archive.h"
#include "oci/callback_guard.h"
#include "oci/tar_reader.h"

namespace imgbuild::builder {

namespace {

using oci::FileType;

/// libarchive on one of our sources: only tar, only the four compressions of ADD-1.
class ArchiveReader {
 public:
  ArchiveReader(std::unique_ptr<Source> source, std::string_view name)
      : source_(std::move(source)), name_(name), buffer_(kChunkSize), archive_(::archive_read_new()) {
    if (!archive_) throw std::bad_alloc();
    enable(::archive_read_support_filter_gzip);
    enable(::archive_read_support_filter_bzip2);
    enable(::archive_read_support_filter_xz);
    enable(::archive_read_support_filter_zstd);
    enable(::archive_read_support_format_tar);
  }

  /// The next member; nullptr at the end. The first call finds out whether this is an archive at all:
  /// `is_archive`.
  archive_entry* next(bool& is_archive) {
    int result = ARCHIVE_OK;
    if (first_)
      result = ::archive_read_open2(archive_.get(), this, nullptr, &ArchiveReader::read, nullptr, nullptr);
    archive_entry* entry = nullptr;
    if (result >= ARCHIVE_WARN) result = ::archive_read_next_header(archive_.get(), &entry);
    guard_.rethrow();
    is_archive = !first_ || (result >= ARCHIVE_WARN && result != ARCHIVE_EOF);
    if (first_ && !is_archive) return nullptr;
    first_ = false;
    if (result == ARCHIVE_EOF) return nullptr;
    if (result < ARCHIVE_WARN) fail();
    return entry;
  }

  /// Moves the current member's bytes to the spool; holes stay holes.
  void unpack(Spool& spool, std::uint64_t offset, std::uint64_t size) {
    for (;;) {
      const void* bytes = nullptr;
      std::size_t count = 0;
      la_int64_t position = 0;
      const int result = ::archive_read_data_block(archive_.get(), &bytes, &count, &position);
      guard_.rethrow();
      if (result == ARCHIVE_EOF) return;
      if (result < ARCHIVE_WARN) fail();
      if (count == 0) continue;
      if (position < 0 || static_cast<std::uint64_t>(position) > size ||
          count > size - static_cast<std::uint64_t>(position)) {
        throw IntegrityError(cat("the archive \"", printable(name_), "\" holds more bytes than it says"));
      }
      spool.write(offset + static_cast<std::uint64_t>(position), {static_cast<const char*>(bytes), count});
    }
  }

 private:
  struct Free {
    void operator()(archive* handle) const noexcept { ::archive_read_free(handle); }
  };

  void enable(int (*support)(archive*)) {
    // A warning means that an external program would be started for it.
    if (support(archive_.get()) != ARCHIVE_OK) {
      throw UnsupportedError("the libarchive of this system lacks one of gzip, bzip2, xz, zstd and tar");
    }
  }

  static la_ssize_t read(archive*, void* self, const void** bytes) {
    auto& reader = *static_cast<ArchiveReader*>(self);
    return reader.guard_.run(la_ssize_t{-1}, [&] {
      *bytes = reader.buffer_.data();
      return static_cast<la_ssize_t>(reader.source_->read(reader.buffer_));
    });
  }

  [[noreturn]] void fail() {
    const char* const text = ::archive_error_string(archive_.get());
    const std::string reason = text == nullptr ? "unreadable" : text;
    const std::string lower = to_lower(reason);
    const bool cut = lower.find("truncated") != std::string::npos ||
                     lower.find("premature") != std::string::npos ||
                     lower.find("unexpected end") != std::string::npos;
    throw IntegrityError(cat("the archive \"", printable(name_),
                             "\" cannot be read: ", cut ? "unexpected EOF: " : "", printable(reason)));
  }

  std::unique_ptr<Source> source_;
  const std::string name_;
  std::vector<char> buffer_;
  oci::CallbackGuard guard_;
  std::unique_ptr<archive, Free> archive_;
  bool first_ = true;
};

/// Makes members of libarchive's entries, within the limits that hold for layers.
class MemberReader {
 public:
  MemberReader(std::string_view name, Spool& spool) : name_(name), spool_(spool) {}

  ArchiveMember read(ArchiveReader& reader, archive_entry* entry) {
    if (++count_ > limits_.entries) refuse("has too many entries");
    ArchiveMember member;
    member.path = raw_path(::archive_entry_pathname(entry), ::archive_entry_pathname_utf8(entry));
    read_owner(entry, member.attributes);
    member.attributes.mode = static_cast<std::uint32_t>(::archive_entry_perm(entry)) & 07777U;
    member.attributes.mtime = {::archive_entry_mtime(entry),
                               static_cast<std::uint32_t>(::archive_entry_mtime_nsec(entry))};
    read_capability(entry, member.attributes);
    if (::archive_entry_hardlink(entry) != nullptr || ::archive_entry_hardlink_utf8(entry) != nullptr) {
      member.link_to = raw_path(::archive_entry_hardlink(entry), ::archive_entry_hardlink_utf8(entry));
      return member;
    }
    read_type(entry, member.attributes);
    if (member.attributes.type == FileType::regular) read_content(reader, entry, member);
    return member;
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw IntegrityError(cat("the archive \"", printable(name_), "\" ", what));
  }

  /// The bytes of a name. In a locale without UTF-8 libarchive gives those of a PAX header as UTF-8 only.
  std::string raw_path(const char* bytes, const char* utf8) const {
    if (bytes != nullptr) return bytes;
    if (utf8 != nullptr) return utf8;
    refuse("has a name that is no text in any encoding");
  }

  void read_owner(archive_entry* entry, oci::FileAttributes& attributes) const {
    const auto uid = ::archive_entry_uid(entry);
    const auto gid = ::archive_entry_gid(entry);
    constexpr std::int64_t kLimit = std::numeric_limits<std::uint32_t>::max();
    if (uid < 0 || gid < 0 || uid >= kLimit || gid >= kLimit)
      refuse("has an entry whose owner is out of range");
    attributes.uid = static_cast<std::uint32_t>(uid);
    attributes.gid = static_cast<std::uint32_t>(gid);
  }

  /// The one extended attribute that copies keep (CFG-41).
  static void read_capability(archive_entry* entry, oci::FileAttributes& attributes) {
    ::archive_entry_xattr_reset(entry);
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    while (::archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
      if (name != nullptr && std::string_view(name) == "security.capability") {
        attributes.xattrs.add(name, std::string(static_cast<const char*>(value), size));
      }
    }
  }

  void read_type(archive_entry* entry, oci::FileAttributes& attributes) const {
    switch (::archive_entry_filetype(entry)) {
      case AE_IFREG:
        attributes.type = FileType::regular;
        return;
      case AE_IFDIR:
        attributes.type = FileType::directory;
        return;
      case AE_IFIFO:
        attributes.type = FileType::fifo;
        return;
      case AE_IFLNK:
        attributes.type = FileType::symlink;
        attributes.mode = 0777;
        attributes.link_target =
            raw_path(::archive_entry_symlink(entry), ::archive_entry_symlink_utf8(entry));
        return;
      case AE_IFCHR:
      case AE_IFBLK:
        attributes.type =
            ::archive_entry_filetype(entry) == AE_IFCHR ? FileType::char_device : FileType::block_device;
        attributes.device_major = static_cast<std::uint32_t>(::archive_entry_rdevmajor(entry));
        attributes.device_minor = static_cast<std::uint32_t>(::archive_entry_rdevminor(entry));
        return;
      default:
        refuse("has an entry of an unknown type");
    }
  }

  void read_content(ArchiveReader& reader, archive_entry* entry, ArchiveMember& member) {
    const auto size = ::archive_entry_size(entry);
    if (size < 0 || static_cast<std::uint64_t>(size) > limits_.file_size)
      refuse("has a file that is too large");
    member.attributes.size = static_cast<std::uint64_t>(size);
    total_ += member.attributes.size;
    if (total_ > limits_.total_size) refuse("unpacks to too many bytes");
    if (size == 0) return;
    const std::uint64_t offset = spool_.reserve(member.attributes.size);
    reader.unpack(spool_, offset, member.attributes.size);
    member.open = spool_.opener(offset, member.attributes.size);
  }

  const std::string name_;
  Spool& spool_;
  const oci::TarLimits limits_;
  std::uint64_t count_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace

std::optional<std::vector<ArchiveMember>> read_archive(const oci::ContentOpener& open, std::string_view name,
                                                       Spool& spool) {
  require_archive_library();
  ArchiveReader reader(open(), name);
  MemberReader members(name, spool);
  std::vector<ArchiveMember> all;
  bool is_archive = false;
  while (archive_entry* const entry = reader.next(is_archive)) all.push_back(members.read(reader, entry));
  if (!is_archive) return std::nullopt;
  return all;
}

std::optional<std::int64_t> newest_file_time(const oci::ContentOpener& open, std::string_view name) {
  require_archive_library();
  ArchiveReader reader(open(), name);
  const oci::TarLimits limits;
  std::uint64_t count = 0;
  std::uint64_t total = 0;
  bool is_archive = false;
  std::optional<std::int64_t> newest;
  try {
    while (archive_entry* const entry = reader.next(is_archive)) {
      const auto size = ::archive_entry_size(entry);
      total += size > 0 ? static_cast<std::uint64_t>(size) : 0;
      if (++count > limits.entries || total > limits.total_size) break;
      const bool is_file =
          ::archive_entry_filetype(entry) == AE_IFREG || ::archive_entry_hardlink(entry) != nullptr;
      if (is_file && (!newest || ::archive_entry_mtime(entry) > *newest))
        newest = ::archive_entry_mtime(entry);
    }
  } catch (const IntegrityError&) {
    return std::nullopt;  // what reads it for its content says why
  }
  if (count > limits.entries || total > limits.total_size)
    throw IntegrityError(cat("the archive \"", printable(name), "\" is beyond the limits for layers"));
  return newest;
}

}  // namespace imgbuild::builder
