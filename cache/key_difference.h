#pragma once

#include <string>
#include <vector>

#include "cache/cache_key.h"

namespace imgbuild::cache {

/// One difference between the inputs of two keys.
struct KeyChange {
  enum class Kind { changed, added, removed, reordered };
  Kind kind = Kind::changed;
  std::string label;
  std::string before;  ///< empty for `added` and `reordered`
  std::string after;   ///< empty for `removed` and `reordered`
};

/// What differs between the inputs of two keys, in the order of the newer one. Fields are compared by label;
/// fields that share a label, as a list. `reordered` with an empty label: the same fields in another order.
std::vector<KeyChange> find_changes(const std::vector<KeyField>& before, const std::vector<KeyField>& now);

/// One printable line: `user: "" became "app"`. Long values are cut to where they differ.
std::string describe(const KeyChange& change);

/// `before` and `after` as describe() shows them: `"old" became "new"`, `new, "x"`, `gone, was "x"`.
std::string describe_values(const KeyChange& change);

}  // namespace imgbuild::cache
