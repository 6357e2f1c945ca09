#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/source_text.h"
#include "builder/evaluate.h"

namespace imgbuild::builder {

/// A finding of a build check.
struct CheckWarning {
  std::string rule;
  std::string detail;
  std::string url;          ///< empty for rules without a page
  std::string description;  ///< what the rule is about
  SourceRange where;
};
/// Why the file cannot be built at all.
struct CheckError {
  std::string message;
  std::vector<std::string> notes;
  std::optional<SourceRange> where;
};

/// What `--check` finds out (LNT-20, LNT-24).
struct CheckResult {
  std::shared_ptr<const SourceText> source;
  std::vector<CheckWarning> warnings;  ///< by line
  std::optional<CheckError> error;
  /// 1 if there is anything to complain about, else 0 (LNT-23).
  int status() const noexcept { return warnings.empty() && !error ? 0 : 1; }
};

/// Parses and evaluates without running anything; base images are resolved. Without a target all stages are
/// looked at. A mistake in the file is part of the result, only Cancelled and bugs are thrown.
CheckResult check_dockerfile(const std::shared_ptr<const SourceText>& source, EvaluateOptions options,
                             BaseResolver& bases);

/// For people (LNT-22): warnings with an excerpt each, without any error.
std::string render_check_text(const CheckResult& result);
/// The document of the sub-request `frontend.lint` (LNT-21).
std::string render_check_json(const CheckResult& result);
/// Our own short form: `{"warnings":[{"rule","detail","line","last_line","url"}],"error":null}`; an error is
/// `{"line","message","notes"}`, line 0 when it belongs to no line.
std::string render_check_report(const CheckResult& result);

}  // namespace imgbuild::builder
