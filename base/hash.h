#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/digest.h"

namespace imgbuild {

/// Incremental SHA-256. Not thread-safe. `finish` may be called once.
class Sha256 {
 public:
  /// `expected` is about how many bytes will come, 0 if nobody knows: of many, the library that is faster but
  /// slower to load is used (docs/adr/0006). The digest does not depend on it.
  explicit Sha256(std::uint64_t expected = 0);
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::string_view bytes);
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest sha256(std::string_view bytes);

}  // namespace imgbuild
