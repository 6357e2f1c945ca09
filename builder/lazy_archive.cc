#include "builder/lazy_archive.h"

#include <archive.h>
#include <archive_entry.h>

#include "base/lazy_library.h"

namespace {

constexpr imgbuild::LazyLibrary kArchive("libarchive.so.13");

}  // namespace

#define LAZY(result, name, parameters, arguments) \
  IMGBUILD_LAZY_FUNCTION(kArchive, result, name, parameters, arguments)

LAZY(archive*, archive_read_new, (), ())
LAZY(int, archive_read_free, (archive * from), (from))
LAZY(int, archive_read_support_filter_bzip2, (archive * from), (from))
LAZY(int, archive_read_support_filter_gzip, (archive * from), (from))
LAZY(int, archive_read_support_filter_xz, (archive * from), (from))
LAZY(int, archive_read_support_filter_zstd, (archive * from), (from))
LAZY(int, archive_read_support_format_tar, (archive * from), (from))
LAZY(int, archive_read_open2,
     (archive * from, void* data, archive_open_callback* open, archive_read_callback* read,
      archive_skip_callback* skip, archive_close_callback* close),
     (from, data, open, read, skip, close))
LAZY(int, archive_read_next_header, (archive * from, archive_entry** entry), (from, entry))
LAZY(int, archive_read_data_block, (archive * from, const void** bytes, size_t* size, la_int64_t* offset),
     (from, bytes, size, offset))
LAZY(const char*, archive_error_string, (archive * from), (from))

LAZY(const char*, archive_entry_pathname, (archive_entry * entry), (entry))
LAZY(const char*, archive_entry_pathname_utf8, (archive_entry * entry), (entry))
LAZY(const char*, archive_entry_hardlink, (archive_entry * entry), (entry))
LAZY(const char*, archive_entry_hardlink_utf8, (archive_entry * entry), (entry))
LAZY(const char*, archive_entry_symlink, (archive_entry * entry), (entry))
LAZY(const char*, archive_entry_symlink_utf8, (archive_entry * entry), (entry))
LAZY(__LA_MODE_T, archive_entry_perm, (archive_entry * entry), (entry))
LAZY(__LA_MODE_T, archive_entry_filetype, (archive_entry * entry), (entry))
LAZY(time_t, archive_entry_mtime, (archive_entry * entry), (entry))
LAZY(long, archive_entry_mtime_nsec, (archive_entry * entry), (entry))
LAZY(la_int64_t, archive_entry_uid, (archive_entry * entry), (entry))
LAZY(la_int64_t, archive_entry_gid, (archive_entry * entry), (entry))
LAZY(la_int64_t, archive_entry_size, (archive_entry * entry), (entry))
LAZY(dev_t, archive_entry_rdevmajor, (archive_entry * entry), (entry))
LAZY(dev_t, archive_entry_rdevminor, (archive_entry * entry), (entry))
LAZY(int, archive_entry_xattr_reset, (archive_entry * entry), (entry))
LAZY(int, archive_entry_xattr_next,
     (archive_entry * entry, const char** name, const void** value, size_t* size), (entry, name, value, size))

#undef LAZY

namespace imgbuild::builder {

void require_archive_library() { kArchive.require(); }

}  // namespace imgbuild::builder
