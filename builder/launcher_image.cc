#include "builder/launcher_image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/error.h"
#include "builder/launcher/launcher_path.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

asm(".section .rodata\n"
    ".balign 16\n"
    ".global imgbuild_launcher_begin\n"
    "imgbuild_launcher_begin:\n"
    ".incbin \"" IMGBUILD_LAUNCHER_FILE
    "\"\n"
    ".global imgbuild_launcher_end\n"
    "imgbuild_launcher_end:\n"
    ".byte 0\n"
    ".previous\n");

extern "C" const char imgbuild_launcher_begin[];  // NOLINT: names of the assembler section above
extern "C" const char imgbuild_launcher_end[];

namespace imgbuild::builder {

std::string_view launcher_image() noexcept {
  return {imgbuild_launcher_begin, static_cast<std::size_t>(imgbuild_launcher_end - imgbuild_launcher_begin)};
}

UniqueFd make_launcher_file() {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  UniqueFd file(::memfd_create("imgbuild-launcher", kFlags | MFD_EXEC));
  if (!file && errno == EINVAL) file.reset(::memfd_create("imgbuild-launcher", kFlags));  // before 6.3
  if (!file) {
    SystemError error(errno, "create a program in memory");
    error.add_note("the setting vm.memfd_noexec must not be 2");
    throw error;
  }
  write_all(file.get(), launcher_image(), "launcher");
  if (::fchmod(file.get(), 0500) != 0) throw SystemError(errno, "chmod", "launcher");
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    throw SystemError(errno, "seal", "launcher");
  return file;
}

}  // namespace imgbuild::builder
