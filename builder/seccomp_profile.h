#pragma once

#include <linux/filter.h>

#include <span>

namespace imgbuild::builder {

/// The system call filter of a RUN: Docker's default rules for its default capabilities (SBX-90…95), for the
/// native architecture and the ones the machine can run besides. Numbers newer than the profile knows give
/// ENOSYS, everything else that is not allowed EPERM. A constant: the program was made when imgbuild was
/// built.
std::span<const sock_filter> default_seccomp_filter() noexcept;

}  // namespace imgbuild::builder
