#pragma once

#include <cstdint>

#include "base/error.h"

namespace imgbuild::builder {

/// What all expansions and inherited configurations of one Dockerfile may come to together. Each word has a
/// limit of its own; this one keeps many of them from adding up (ATK-128). About bytes.
class ExpansionBudget {
 public:
  /// Throws SyntaxError, without a range, when nothing is left.
  void spend(std::uint64_t bytes) {
    if (bytes > left_) throw SyntaxError("the variables of this Dockerfile expand to more than 128 MiB");
    left_ -= bytes;
  }

 private:
  std::uint64_t left_ = std::uint64_t{128} << 20;
};

}  // namespace imgbuild::builder
