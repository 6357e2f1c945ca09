#pragma once

#include <cstdint>

namespace imgbuild::oci {

/// Asked before bytes are written to a store. Thread-safe.
class WriteGuard {
 public:
  virtual ~WriteGuard() = default;
  /// Throws Error when they must not be written.
  virtual void before_write(std::uint64_t bytes) = 0;
};

}  // namespace imgbuild::oci
