#pragma once

#include <unistd.h>

#include <cstdio>

namespace imgbuild::tests {

/// True when the test must be skipped because this process is not root; says so.
inline bool lacks_root() {
  if (::geteuid() == 0) return false;
  std::puts("skipped: needs root");
  return true;
}

}  // namespace imgbuild::tests
