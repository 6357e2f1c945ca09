#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "builder/environment.h"

namespace imgbuild::builder {

/// What happened to the variables of a stage, in order.
struct ScopeLog;

/// The variables one RUN sees: a moment in the life of its stage's scope. All of a stage's share one log, so
/// that many RUN lines after many variables do not each hold a copy.
class RunScope {
 public:
  RunScope() = default;

  /// "k=v" in order of assignment: image env, ENV, set ARGs (RUN-2). Made anew by every call.
  std::vector<std::string> entries() const;
  /// Declared ARGs in order of their first declaration, with their value or an empty one (CFG-22).
  std::vector<std::pair<std::string, std::string>> arguments() const;

 private:
  friend class StageScope;
  RunScope(std::shared_ptr<const ScopeLog> log, std::size_t length) : log_(std::move(log)), length_(length) {}

  std::shared_ptr<const ScopeLog> log_;
  std::size_t length_ = 0;  ///< events of `log_` that had happened
};

/// The variables of a stage: image Env, ENV and set ARGs in one map (VAR-10), and which ARGs are declared.
class StageScope {
 public:
  /// Throws SyntaxError when all variables together are larger than 1 MiB.
  void set(std::string_view name, std::string value);
  /// ARG `name`, with or without a value.
  void declare(const std::string& name);
  /// Goes on where `other` is now (ARG-4).
  void inherit(const StageScope& other);

  const std::string* find(std::string_view name) const { return env_.find(name); }
  parser::VariableLookup lookup() const { return env_.lookup(); }
  bool is_declared(std::string_view name) const { return declared_.contains(name); }
  /// Of variables and of declared ARGs.
  std::vector<std::string> names() const;
  std::size_t count() const noexcept { return env_.variables().size() + declared_.size(); }
  std::uint64_t bytes() const noexcept { return bytes_; }
  RunScope now() const;

 private:
  ScopeLog& log();

  Environment env_;
  std::set<std::string, std::less<>> declared_;
  std::uint64_t bytes_ = 0;
  std::shared_ptr<ScopeLog> log_;
};

}  // namespace imgbuild::builder
