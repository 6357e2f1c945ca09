#include "builder/run_environment.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>

#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

namespace {

std::string read_page(const char* path) {
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> bytes{};
  const ssize_t size = file ? ::read(file.get(), bytes.data(), bytes.size()) : 0;
  return {bytes.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

std::string link_text(const char* path) {
  std::array<char, 64> target{};
  const ssize_t size = ::readlink(path, target.data(), target.size());
  return {target.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

/// What the kernel says of the rights of this process: capabilities, no_new_privs, seccomp filters.
std::string rights() {
  std::string out;
  const std::string status = read_page("/proc/self/status");
  for (const auto line : split(status, '\n')) {
    for (const std::string_view name : {"CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:", "Seccomp_filters:"})
      if (line.starts_with(name)) out += cat(line, "\n");
  }
  return out;
}

}  // namespace

std::string run_environment() {
  utsname kernel{};
  (void)::uname(&kernel);
  return cat("boot ", trim(read_page("/proc/sys/kernel/random/boot_id")), "\nkernel ", kernel.release, " ",
             kernel.version, "\nuser ", ::geteuid(), ":", ::getegid(), "\nnamespaces ",
             link_text("/proc/self/ns/user"), " ", link_text("/proc/self/ns/mnt"), " ",
             link_text("/proc/self/ns/pid"), "\nlabel ", trim(read_page("/proc/self/attr/current")), "\n",
             rights());
}

}  // namespace imgbuild::builder
