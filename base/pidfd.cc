#include "base/pidfd.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace imgbuild {

bool Pidfd::kill(int signal) const noexcept {
  if (!fd_) return false;
  return ::syscall(SYS_pidfd_send_signal, fd_.get(), signal, nullptr, 0) == 0 || errno == ESRCH;
}

}  // namespace imgbuild
