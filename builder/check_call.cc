#include "builder/check_call.h"

#include <algorithm>

#include "base/error.h"
#include "builder/lint.h"
#include "parser/parser.h"

namespace imgbuild::builder {

CheckResult check_dockerfile(const std::shared_ptr<const SourceText>& source, EvaluateOptions options,
                             BaseResolver& bases) {
  CheckResult result;
  result.source = source;
  options.check_all_stages = true;
  const auto collect = [&](const Warned& warned) {
    result.warnings.push_back(
        {warned.rule, warned.text, warned.url, std::string(rule_description(warned.rule)), warned.where});
  };
  try {
    evaluate(parser::parse_dockerfile(source), options, bases, collect);
  } catch (const Error& error) {
    result.error = CheckError{error.message(), error.notes(), error.where()};
  }
  std::stable_sort(
      result.warnings.begin(), result.warnings.end(),
      [](const CheckWarning& a, const CheckWarning& b) { return a.where.first_line < b.where.first_line; });
  return result;
}

}  // namespace imgbuild::builder
