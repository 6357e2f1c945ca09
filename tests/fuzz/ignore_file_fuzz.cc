// Input: an ignore file, a NUL, a path. Walking to the path and asking for it must agree.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "parser/ignore_file.h"

using namespace imgbuild;
using namespace imgbuild::parser;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check_walk(const IgnoreMatcher& matcher, std::string_view path) {
  IgnoreMatcher::State state;
  bool skipped = false;
  for (std::size_t at = 0; at < path.size();) {
    at = std::min(path.find('/', at + 1), path.size());
    const std::string_view step = path.substr(0, at);
    state = matcher.enter(state, step);
    require(state.rule() < static_cast<int>(matcher.patterns().size()));
    require(!skipped || state.ignored());  // nothing kept below what a walk may skip
    skipped = skipped || !matcher.may_hold_kept(state, step);
  }
  require(state.ignored() == matcher.ignores(path));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string rules(input.substr(0, input.find('\0')));
  const std::string_view path = input.substr(std::min(size, rules.size() + 1));
  try {
    check_walk(IgnoreMatcher::parse(std::make_shared<const SourceText>(".dockerignore", rules)), path);
  } catch (const SyntaxError& error) {
    require(error.where().has_value());
  }
  try {
    match_path(rules, path);
  } catch (const SyntaxError&) {
  }
  return 0;
}
