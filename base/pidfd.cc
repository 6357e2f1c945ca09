#include "base/pidfd.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace imgbuild {

bool Pidfd::kill(int signal) const noexcept {
  if (!fd_) return false;
  return ::syscall(SYS_pidfd_send_signal, fd_.get(), signal, nullptr, 0) == 0 || errno == ESRCH;
}

bool Pidfd::kill_group(int signal) const noexcept {
  constexpr unsigned kProcessGroup =
      4;  // PIDFD_SIGNAL_PROCESS_GROUP; newer than the headers of our oldest system
  return fd_ && ::syscall(SYS_pidfd_send_signal, fd_.get(), signal, nullptr, kProcessGroup) == 0;
}

}  // namespace imgbuild
