// Loaded into imgbuild by LD_PRELOAD: counts the calls that change files below one directory and lets one of
// them fail, or ends the process right before it. What that call would have done is then undone, and so is
// all that comes after it: this walks a program through every state a crash or a bad disk can leave behind.
//
//   FAULT_UNDER    directory whose files are meant
//   FAULT_NAME     how the paths of these files end; unset: any
//   FAULT_COUNTER  file of 8 bytes that holds the number of calls so far
//   FAULT_AT       the call that is hit, from 1; 0 or unset: none
//   FAULT_ACTION   kill, stop, or the number of an errno
//   FAULT_STICKY   set: every later call fails, too, as on a full disk
//   FAULT_CALLS    names of the calls that count, comma separated; unset: all
//   FAULT_NO_FS    a type of file system that the kernel does not know
//   FAULT_CLOCK    seconds by which the wall clock jumps when it was asked FAULT_CLOCK_AFTER times
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

struct Settings {
  std::string under, end, calls, action;
  unsigned long at = 0;
  int error = 0;
  bool sticky = false;
  std::atomic<unsigned long>* counter = nullptr;

  Settings() {
    const auto text = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string(value != nullptr ? value : "");
    };
    under = text("FAULT_UNDER");
    end = text("FAULT_NAME");
    calls = text("FAULT_CALLS");
    action = text("FAULT_ACTION");
    at = std::strtoul(text("FAULT_AT").c_str(), nullptr, 10);
    error = std::atoi(action.c_str());
    sticky = !text("FAULT_STICKY").empty();
    const int fd = ::open(text("FAULT_COUNTER").c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void* page = ::mmap(nullptr, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (page != MAP_FAILED) counter = static_cast<std::atomic<unsigned long>*>(page);
  }
};

const Settings& settings() {
  static const Settings all;
  return all;
}

thread_local bool g_inside = false;

bool is_counted(const char* call) {
  const std::string& calls = settings().calls;
  return calls.empty() || ("," + calls + ",").find("," + std::string(call) + ",") != std::string::npos;
}

/// The name behind a descriptor, or the current directory.
std::string name_of(int fd) {
  char link[64], path[4096];
  std::snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", fd);
  const ssize_t size = ::readlink(link, path, sizeof path);
  return size > 0 ? std::string(path, static_cast<std::size_t>(size)) : std::string();
}

/// True: the call must fail; errno is set.
bool hit(const char* call, int fd, const char* path) {
  const Settings& all = settings();
  if (all.counter == nullptr || g_inside || !is_counted(call)) return false;
  g_inside = true;
  std::string name = path != nullptr && path[0] == '/' ? path : name_of(fd);
  if (path != nullptr && path[0] != '/') name += "/" + std::string(path);
  if (name.starts_with("/proc/self/fd/")) name = name_of(std::atoi(name.c_str() + 14));
  g_inside = false;
  if (!name.starts_with(all.under) || !name.ends_with(all.end)) return false;
  const unsigned long number = all.counter->fetch_add(1) + 1;
  if (all.at == 0 || number < all.at || (number > all.at && !all.sticky)) return false;
  if (all.action == "kill") ::kill(::getpid(), SIGKILL);
  if (all.action == "stop") ::kill(::getpid(), SIGSTOP);
  if (all.error == 0) return false;
  errno = all.error;
  return true;
}

template <typename F>
F next(const char* name) {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

// The real function is looked up once for each; `fd` and `path` say which file is meant.
#define FAULT(result, name, fd, path, parameters, arguments)    \
  extern "C" result name parameters {                           \
    static const auto real = next<result(*) parameters>(#name); \
    if (hit(#name, fd, path)) return static_cast<result>(-1);   \
    return real arguments;                                      \
  }

FAULT(ssize_t, write, fd, nullptr, (int fd, const void* data, size_t size), (fd, data, size))
FAULT(ssize_t, pwrite, fd, nullptr, (int fd, const void* data, size_t size, off_t at), (fd, data, size, at))
FAULT(ssize_t, pwrite64, fd, nullptr, (int fd, const void* data, size_t size, off64_t at),
      (fd, data, size, at))
FAULT(ssize_t, writev, fd, nullptr, (int fd, const iovec* parts, int count), (fd, parts, count))
FAULT(int, ftruncate, fd, nullptr, (int fd, off_t size) noexcept, (fd, size))
FAULT(int, ftruncate64, fd, nullptr, (int fd, off64_t size) noexcept, (fd, size))
FAULT(int, fallocate, fd, nullptr, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
FAULT(ssize_t, copy_file_range, out, nullptr,
      (int in, off64_t* in_at, int out, off64_t* out_at, size_t size, unsigned flags),
      (in, in_at, out, out_at, size, flags))
FAULT(int, fsync, fd, nullptr, (int fd), (fd))
FAULT(int, fdatasync, fd, nullptr, (int fd), (fd))
FAULT(int, syncfs, fd, nullptr, (int fd) noexcept, (fd))
FAULT(int, linkat, to_dir, to, (int dir, const char* from, int to_dir, const char* to, int flags) noexcept,
      (dir, from, to_dir, to, flags))
FAULT(int, renameat, to_dir, to, (int dir, const char* from, int to_dir, const char* to) noexcept,
      (dir, from, to_dir, to))
FAULT(int, renameat2, to_dir, to,
      (int dir, const char* from, int to_dir, const char* to, unsigned flags) noexcept,
      (dir, from, to_dir, to, flags))

/// Directories count under their own name.
extern "C" int unlinkat(int dir, const char* path, int flags) noexcept {
  static const auto real = next<int (*)(int, const char*, int)>("unlinkat");
  if (hit((flags & AT_REMOVEDIR) != 0 ? "rmdir" : "unlinkat", dir, path)) return -1;
  return real(dir, path, flags);
}

FAULT(int, mkdirat, dir, path, (int dir, const char* path, mode_t mode) noexcept, (dir, path, mode))
FAULT(int, mkdir, AT_FDCWD, path, (const char* path, mode_t mode) noexcept, (path, mode))
FAULT(int, symlinkat, dir, path, (const char* target, int dir, const char* path) noexcept,
      (target, dir, path))
FAULT(int, mknodat, dir, path, (int dir, const char* path, mode_t mode, dev_t device) noexcept,
      (dir, path, mode, device))
FAULT(int, fchmod, fd, nullptr, (int fd, mode_t mode) noexcept, (fd, mode))
FAULT(int, fchmodat, dir, path, (int dir, const char* path, mode_t mode, int flags) noexcept,
      (dir, path, mode, flags))
FAULT(int, fchown, fd, nullptr, (int fd, uid_t uid, gid_t gid) noexcept, (fd, uid, gid))
FAULT(int, fchownat, dir, path, (int dir, const char* path, uid_t uid, gid_t gid, int flags) noexcept,
      (dir, path, uid, gid, flags))
FAULT(int, utimensat, dir, path, (int dir, const char* path, const timespec times[2], int flags) noexcept,
      (dir, path, times, flags))
FAULT(int, futimens, fd, nullptr, (int fd, const timespec times[2]) noexcept, (fd, times))
FAULT(int, fsetxattr, fd, nullptr,
      (int fd, const char* name, const void* value, size_t size, int flags) noexcept,
      (fd, name, value, size, flags))

// Opening counts when it may make a file.
#define FAULT_OPEN(name, dir, parameters, arguments)         \
  extern "C" int name parameters {                           \
    static const auto real = next<int(*) parameters>(#name); \
    mode_t mode = 0;                                         \
    if ((flags & (O_CREAT | __O_TMPFILE)) != 0) {            \
      va_list more;                                          \
      va_start(more, flags);                                 \
      mode = va_arg(more, mode_t);                           \
      va_end(more);                                          \
      if (hit("open", dir, path)) return -1;                 \
    }                                                        \
    return real arguments;                                   \
  }

FAULT_OPEN(open, AT_FDCWD, (const char* path, int flags, ...), (path, flags, mode))
FAULT_OPEN(open64, AT_FDCWD, (const char* path, int flags, ...), (path, flags, mode))
FAULT_OPEN(openat, dir, (int dir, const char* path, int flags, ...), (dir, path, flags, mode))
FAULT_OPEN(openat64, dir, (int dir, const char* path, int flags, ...), (dir, path, flags, mode))

extern "C" int fsopen(const char* type, unsigned flags) noexcept {
  static const auto real = next<int (*)(const char*, unsigned)>("fsopen");
  static const char* const unknown = std::getenv("FAULT_NO_FS");
  if (unknown == nullptr || std::strcmp(type, unknown) != 0) return real(type, flags);
  errno = ENODEV;
  return -1;
}

extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  static const auto real = next<int (*)(clockid_t, timespec*)>("clock_gettime");
  static const char* const jump = std::getenv("FAULT_CLOCK");
  static const char* const after = std::getenv("FAULT_CLOCK_AFTER");
  static std::atomic<long> asked{0};
  const int result = real(clock, now);
  if (jump != nullptr && clock == CLOCK_REALTIME && ++asked > (after != nullptr ? std::atol(after) : 0))
    now->tv_sec += std::atol(jump);
  return result;
}
