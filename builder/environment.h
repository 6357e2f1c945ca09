#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "oci/platform.h"
#include "parser/words.h"

namespace imgbuild::builder {

/// Variables in the order of their first assignment; a later assignment replaces in place (CFG-3).
class Environment {
 public:
  /// From entries "k=v"; an entry without `=` is a name with an empty value.
  static Environment from_entries(const std::vector<std::string>& entries);

  void set(std::string_view name, std::string value);
  /// Nothing when `name` is unset; set but empty is set.
  const std::string* find(std::string_view name) const;
  /// "k=v", in order.
  std::vector<std::string> entries() const;
  std::vector<std::string> names() const;
  parser::VariableLookup lookup() const;
  const std::vector<std::pair<std::string, std::string>>& variables() const noexcept { return variables_; }

 private:
  std::vector<std::pair<std::string, std::string>> variables_;
  std::map<std::string, std::size_t, std::less<>> places_;  // in variables_
};

/// The build arguments the user supplied; of a repeated key the last value counts.
using BuildArgs = std::map<std::string, std::string, std::less<>>;
BuildArgs collect_build_args(const std::vector<std::pair<std::string, std::string>>& given);

/// BUILDPLATFORM … TARGETSTAGE (ARG-9).
Environment automatic_args(const oci::Platform& build, const oci::Platform& target,
                           const std::string& target_stage);

/// Whether `name` is one of the proxy arguments, in any case (ARG-8).
bool is_proxy_arg(std::string_view name);
/// The supplied proxy arguments, each in lower and upper case, as "k=v" (ARG-8).
std::vector<std::string> proxy_variables(const BuildArgs& args);
/// Whether an ARG of this name stays out of the environment of RUN (ARG-28).
bool is_hidden_from_run(std::string_view name);

}  // namespace imgbuild::builder
