#pragma once

#include <linux/filter.h>

#include <vector>

namespace imgbuild::builder {

/// The system call filter of a RUN: Docker's default rules for its default capabilities (SBX-90…95), for the native
/// architecture and the ones the machine can run besides. Numbers newer than the profile knows give ENOSYS, everything
/// else that is not allowed EPERM. Built by libseccomp at the first call, then kept for the process; thread-safe.
/// Throws UnsupportedError on an architecture without a profile.
const std::vector<sock_filter>& default_seccomp_filter();

}  // namespace imgbuild::builder
