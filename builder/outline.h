#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/source_text.h"

namespace imgbuild::builder {

/// An argument a stage declares or needs.
struct OutlineArg {
  std::string name;
  std::string description;
  std::optional<std::string> value;
  SourceRange where;
};
/// A secret or ssh mount of RUN.
struct OutlineSecret {
  std::string name;
  bool required = false;
  SourceRange where;
};
/// What one stage asks of its user (SUB-1).
struct Outline {
  std::string name;
  std::string description;
  std::vector<OutlineArg> args;
  std::vector<OutlineSecret> secrets;
  std::vector<OutlineSecret> ssh;
};

}  // namespace imgbuild::builder
