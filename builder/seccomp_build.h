#pragma once

#include <linux/filter.h>

#include <vector>

namespace imgbuild::builder {

/// The program behind default_seccomp_filter(), put together by libseccomp. For the generator that runs while
/// imgbuild is built, and for tests: imgbuild itself only loads what came out (SBX-14). Throws SystemError
/// when the library fails, UnsupportedError on an architecture without a profile.
std::vector<sock_filter> build_seccomp_filter();

}  // namespace imgbuild::builder
