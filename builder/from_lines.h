#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "builder/environment.h"
#include "builder/expansion_budget.h"
#include "builder/lint.h"
#include "oci/platform.h"
#include "parser/instruction.h"

namespace imgbuild::builder {

/// An ARG in front of the first FROM.
struct GlobalArg {
  std::string name;
  std::optional<std::string> value;  ///< supplied, or the default expanded
  std::string doc;
  SourceRange where;
  std::set<std::string> uses;  ///< other globals its default needs
};

/// What FROM lines see: automatic arguments and global ARGs (ARG-1, ARG-9).
class GlobalScope {
 public:
  /// Throws SyntaxError, located, when a default cannot be expanded.
  GlobalScope(const parser::Dockerfile& file, const Environment& automatic, const BuildArgs& build_args,
              ExpansionBudget& budget);

  /// A global, else an automatic argument. An automatic argument the user supplied has the supplied value.
  const std::string* find(std::string_view name) const { return values_.find(name); }
  parser::VariableLookup lookup() const { return values_.lookup(); }
  bool is_declared(std::string_view name) const;
  bool is_automatic(std::string_view name) const { return automatic_.find(name) != nullptr; }
  /// The last declaration of a global; nullptr without one.
  const GlobalArg* declaration(std::string_view name) const;
  std::vector<std::string> names() const;
  std::size_t count() const noexcept { return automatic_.variables().size() + declared_.size(); }
  /// Replaces a value once it is known exactly (SDE-3).
  void set(std::string_view name, std::string value) { values_.set(name, std::move(value)); }

 private:
  Environment automatic_;
  Environment values_;
  std::vector<GlobalArg> declared_;
  std::map<std::string, std::size_t, std::less<>> places_;  // in declared_, of the last one of a name
};

/// A FROM line after expansion.
struct StageHead {
  std::string base;
  std::optional<oci::Platform> platform;
  std::set<std::string> uses;  ///< globals it uses
};

/// Expands every FROM, also of stages nobody needs (STG-1). `defaults` is the scope without any build
/// argument, for InvalidDefaultArgInFrom. Throws SyntaxError, located.
std::vector<StageHead> expand_from_lines(const parser::Dockerfile& file, const GlobalScope& globals,
                                         const GlobalScope* defaults, Linter& linter,
                                         ExpansionBudget& budget);

}  // namespace imgbuild::builder
