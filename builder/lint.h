#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "builder/environment.h"
#include "builder/event.h"
#include "parser/instruction.h"

namespace imgbuild::builder {

/// Which build checks run: the value of `# check=` (LNT-2).
struct LintConfig {
  bool skip_all = false;
  std::set<std::string, std::less<>> skip;
  bool experimental_all = false;
  std::set<std::string, std::less<>> experimental;
  bool error = false;  ///< findings make the build fail (LNT-5)

  /// Throws SyntaxError without a range (LNT-3).
  static LintConfig parse(std::string_view text);
};

/// What a rule is about, in a sentence; empty for an unknown rule.
std::string_view rule_description(std::string_view rule);
/// Where the rule is documented; empty for rules without a page.
std::string rule_url(std::string_view rule);

/// Takes the findings of one evaluation, leaves out what the user does not want to see, hands on the rest.
class Linter {
 public:
  /// Reads the check directive of `file`, or BUILDKIT_DOCKERFILE_CHECK in its place (LNT-4). Throws
  /// SyntaxError.
  Linter(const parser::Dockerfile& file, const BuildArgs& args, std::function<void(const Warned&)> sink);

  /// `at` may hold a check comment of its own (LNT-6).
  void report(std::string_view rule, std::string detail, const parser::Instruction& at);
  /// For findings about no instruction.
  void report(std::string_view rule, std::string detail, const SourceRange& where);
  /// The name close to `wrong`, for "did you mean". `names()` is asked for while the suggestions of this file
  /// have compared few names together; behind that there are none, as many would cost the square of the file.
  std::optional<std::string> suggestion(std::string_view wrong, std::size_t count,
                                        const std::function<std::vector<std::string>()>& names);
  /// Throws Error if findings are to be failures and there was one (LNT-5).
  void finish() const;

 private:
  bool wanted(std::string_view rule, const LintConfig& config) const;
  void hand_on(std::string_view rule, std::string detail, const SourceRange& where);

  LintConfig config_;
  std::function<void(const Warned&)> sink_;
  std::set<std::string, std::less<>> violated_;
  std::size_t comparisons_left_ = 200'000;
};

/// The checks that need no evaluation: names, letter case, obsolete forms (first part of dockerfile.md
/// section 8.2).
void check_file(const parser::Dockerfile& file, Linter& linter);

/// SecretsUsedInArgOrEnv: whether a variable of this name looks like it holds a secret.
bool names_a_secret(std::string_view key);

}  // namespace imgbuild::builder
