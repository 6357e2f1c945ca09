#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace imgbuild::tests {

constexpr const char* kBusybox = "/usr/bin/busybox";

inline bool has_busybox() { return ::access(kBusybox, X_OK) == 0; }

/// Makes the directory `root` a small system: a static busybox and names for what the tests call.
inline void fill_busybox_root(int root) {
  ensure_dir_at(root, "bin", 0755);
  ensure_dir_at(root, "tmp", 01777);
  ensure_dir_at(root, "etc", 0755);
  const UniqueFd from = open_path(kBusybox, O_RDONLY);
  const UniqueFd to = open_at(root, "bin/busybox", O_WRONLY | O_CREAT | O_EXCL, 0755);
  write_all(to.get(), read_file(from.get(), 64u << 20, "busybox"));
  if (::fchmod(to.get(), 0755) != 0) throw SystemError(errno, "chmod", "busybox");
  for (const char* name :
       {"sh",       "cat",   "ls",    "mknod", "dd",     "rm",  "mkdir",    "touch", "id",
        "grep",     "sleep", "ln",    "mv",    "pwd",    "env", "hostname", "mount", "chmod",
        "chown",    "ps",    "stat",  "head",  "wc",     "ip",  "unshare",  "echo",  "test",
        "readlink", "true",  "false", "kill",  "setsid", "yes", "ifconfig"}) {
    if (::symlinkat("busybox", root, (std::string("bin/") + name).c_str()) != 0)
      throw SystemError(errno, "symlink", name);
  }
  const UniqueFd passwd = open_at(root, "etc/passwd", O_WRONLY | O_CREAT, 0644);
  write_all(passwd.get(), "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n");
}

}  // namespace imgbuild::tests
