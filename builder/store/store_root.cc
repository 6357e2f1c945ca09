#include "builder/store/store_root.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/file_lock.h"
#include "base/store_dir.h"
#include "base/strings.h"
#include "base/syncer.h"

namespace imgbuild::builder {

namespace {

constexpr unsigned kVersion = 2;
constexpr std::string_view kMagic = "imgbuild-store ";
const std::string kLockFile = "store";

struct Format {
  std::uint64_t version = 0;
  std::string boot;
  std::uint64_t epoch = 0;
};

/// Makes `path` and what is missing above it.
void make_directories(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at);
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), at == std::string::npos ? 0700 : 0755) != 0 && errno != EEXIST) {
      throw SystemError(errno, "create the store's directory", part);
    }
    if (at != std::string::npos) ++at;
  }
}

UniqueFd open_directory(const std::string& path) {
  UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root && errno == ENOENT) {
    make_directories(path);
    root = open_path(path, O_RDONLY | O_DIRECTORY);
  }
  if (!root) throw SystemError(errno, "open the store's directory", path);
  struct stat info {};
  if (::fstat(root.get(), &info) != 0) throw SystemError(errno, "stat", path);
  if (info.st_uid != ::geteuid()) {
    throw Error(cat("the store ", printable(path), " belongs to another user"))
        .with_note("name another directory with --root");
  }
  if ((info.st_mode & 022) != 0) {
    throw Error(cat("the store ", printable(path), " can be written by others"))
        .with_note(cat("chmod go-w ", printable(path)));
  }
  return root;
}

/// Of this boot of the machine; empty where it cannot be had.
std::string boot_id() {
  const UniqueFd file(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text{};
  const ssize_t size = file ? ::read(file.get(), text.data(), text.size()) : -1;
  return size > 0 ? std::string(trim({text.data(), static_cast<std::size_t>(size)})) : std::string();
}

std::string value_of(std::string_view line, std::string_view name) {
  if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ' ') return {};
  return std::string(line.substr(name.size() + 1));
}

/// Nothing when there is none, or one that a power loss emptied before versions synced it.
std::optional<Format> read_format(int dir, const std::string& path) {
  const UniqueFd file = open_at_if_exists(dir, "format", O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file) return std::nullopt;
  const std::string text = read_file(file.get(), 4096, "store format");
  if (text.empty()) return std::nullopt;
  const auto lines = split(text, '\n');
  Format format;
  const auto version =
      lines[0].starts_with(kMagic) ? parse_decimal(lines[0].substr(kMagic.size())) : std::nullopt;
  if (!version || *version == 0 || *version > kVersion) {
    throw UnsupportedError(cat("the store ", printable(path), " has the format \"", printable(lines[0]),
                               "\", which this version does not know"));
  }
  format.version = *version;
  for (const auto line : lines) {
    if (const auto boot = value_of(line, "boot"); !boot.empty()) format.boot = boot;
    if (const auto epoch = parse_decimal(value_of(line, "epoch"))) format.epoch = *epoch;
  }
  return format;
}

/// Synced, since a lost count of boots would make bytes believed that nobody checked.
void write_format(int dir, const Format& format) {
  Syncer syncer;
  StoreDir(dir).publish(
      dir, "format", cat(kMagic, kVersion, "\nboot ", format.boot, "\nepoch ", format.epoch, "\n"), &syncer);
}

/// Version 1 held no locks on blobs, so its builds must have ended before somebody may remove blobs. They can
/// be seen by the lock on their own directory in `steps`.
void refuse_running_version_1(const StoreRoot& store) {
  const UniqueFd steps = open_at_if_exists(store.dir.get(), "steps", O_RDONLY | O_DIRECTORY);
  if (!steps) return;
  UniqueFd copy = open_at(steps.get(), ".", O_RDONLY | O_DIRECTORY);
  const auto close = [](DIR* dir) { ::closedir(dir); };
  const std::unique_ptr<DIR, decltype(close)> list(::fdopendir(copy.get()), close);
  if (!list) throw SystemError(errno, "list", "steps");
  (void)copy.release();
  while (const dirent* entry = ::readdir(list.get())) {
    if (entry->d_name[0] == '.') continue;
    const UniqueFd step = open_at_if_exists(steps.get(), entry->d_name, O_RDONLY | O_DIRECTORY);
    if (!step || !open_at_if_exists(step.get(), "owner", O_RDONLY | O_NONBLOCK)) continue;
    if (FileLock::try_acquire(step.get(), "owner", FileLock::Kind::exclusive)) continue;
    throw Error(cat("the store ", printable(store.path), " is in use by an older version of imgbuild"))
        .with_note("wait until its builds have ended");
  }
}

/// A boot that cannot be told is never the same one: then everything is checked, which is slow and right.
bool is_current(const std::optional<Format>& format, const std::string& boot) {
  return format && format->version == kVersion && format->epoch != 0 && !boot.empty() && format->boot == boot;
}

void refuse_links(int dir, const std::string& path) {
  for (const char* name : {"blobs", "cache", "contents", "corrupt", "indexes", "ingest", "layers", "locks",
                           "mounts", "pieces", "steps", "tags", "trash", "work", "blobs/sha256"}) {
    struct stat info {};
    if (::fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(info.st_mode)) {
      throw Error(cat("\"", name, "\" in the store ", printable(path), " is no directory"))
          .with_note("links inside a store are not followed; move the whole store with --root instead");
    }
  }
}

/// Brings `format` to this version and this boot. Whoever comes second finds it done.
void update_format(StoreRoot& store, const std::string& boot) {
  store.locks.take(kFormatLock);
  refuse_links(store.dir.get(), store.path);
  auto format = read_format(store.dir.get(), store.path);
  if (!is_current(format, boot)) {
    if (!format) format = Format{.version = kVersion};
    if (format->version < kVersion) refuse_running_version_1(store);
    format->boot = boot;
    ++format->epoch;
    write_format(store.dir.get(), *format);
  }
  store.epoch = format->epoch;
  store.locks.release(kFormatLock);
}

bool is_read_only(int dir) {
  struct statvfs info {};
  return ::fstatvfs(dir, &info) == 0 && (info.f_flag & ST_RDONLY) != 0;
}

std::optional<KeyLocks> find_locks(int dir, std::stop_token stop) {
  const UniqueFd locks = open_at_if_exists(dir, "locks", O_RDONLY | O_DIRECTORY);
  if (!locks) return std::nullopt;
  return KeyLocks::open_existing(locks.get(), kLockFile, std::move(stop));
}

KeyLocks make_locks(int dir, std::stop_token stop) {
  ensure_dir_at(dir, "locks", 0700);
  const UniqueFd locks = open_at(dir, "locks", O_RDONLY | O_DIRECTORY);
  return KeyLocks(locks.get(), kLockFile, std::move(stop));
}

Error read_only_error(const std::string& path, std::string_view what) {
  return Error(cat("the store ", printable(path), " is read-only and ", what), ExitCode::system)
      .with_note("name a store that can be written with --root");
}

StoreRoot open_steps(const std::string& path, std::stop_token stop) {
  UniqueFd dir = open_directory(path);
  auto locks = find_locks(dir.get(), stop);
  if (!locks) {
    refuse_links(dir.get(), path);
    (void)read_format(dir.get(), path);  // a newer version's store is refused before anything is made in it
    if (is_read_only(dir.get())) throw read_only_error(path, "was never used by this version");
    locks.emplace(make_locks(dir.get(), stop));
  }
  // First the lock, then the format: nobody changes it while somebody uses the store.
  locks->hold(kStoreLock);
  const std::string boot = boot_id();
  auto format = read_format(dir.get(), path);
  const bool read_only = locks->read_only();
  StoreRoot store{std::move(dir), path, format ? format->epoch : 0, read_only, std::move(*locks)};
  if (!is_current(format, boot)) {
    if (read_only && (!format || format->version != kVersion))
      throw read_only_error(path, "has an older format");
    // Where nothing can be written, nothing is published: an epoch nobody has makes every blob be checked.
    if (read_only)
      ++store.epoch;
    else
      update_format(store, boot);
  }
  return store;
}

}  // namespace

StoreRoot open_store_root(const std::string& path, std::stop_token stop) {
  try {
    return open_steps(path, std::move(stop));
  } catch (SystemError& error) {
    error.add_context(cat("opening the store ", printable(path)));
    throw;
  }
}

}  // namespace imgbuild::builder
