// Writes the system call filter as the initialisers of an array, while imgbuild is built (SBX-14).
#include <cstdio>
#include <exception>

#include "builder/seccomp_build.h"

int main() {
  try {
    for (const sock_filter& step : imgbuild::builder::build_seccomp_filter())
      std::printf("{0x%x, %u, %u, 0x%xu},\n", unsigned{step.code}, unsigned{step.jt}, unsigned{step.jf},
                  unsigned{step.k});
    return std::fflush(stdout) == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "seccomp-generate: %s\n", error.what());
    return 1;
  }
}
