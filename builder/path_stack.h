#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"

namespace imgbuild::builder {

/// Puts the components of `path` on the stack of those still to walk, first one on top.
inline void push_components(std::vector<std::string>& stack, std::string_view path) {
  const auto names = split(path, '/');
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!name->empty() && *name != ".") stack.emplace_back(*name);
  }
}

}  // namespace imgbuild::builder
