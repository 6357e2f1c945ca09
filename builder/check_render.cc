#include <algorithm>

#include "base/strings.h"
#include "builder/check_call.h"
#include "builder/metadata_json.h"

namespace imgbuild::builder {

namespace {

using nlohmann::ordered_json;

constexpr std::string_view kRule = "--------------------\n";
constexpr int kContextLines = 2;
constexpr int kMaxExcerptLines = 200;  // many findings in one long here-document would repeat it all

/// The lines of a range with two lines around it, those of the range marked.
std::string excerpt(const SourceText& source, const SourceRange& where) {
  std::string out(kRule);
  const int first = std::max(1, where.first_line - kContextLines);
  const int last =
      std::min({source.line_count(), where.last_line + kContextLines, where.first_line + kMaxExcerptLines});
  for (int line = first; line <= last; ++line) {
    const bool marked = line >= where.first_line && line <= where.last_line;
    out += cat(pad_left(cat(line), 4), " | ", marked ? ">>> " : "    ", printable(source.line(line)), "\n");
  }
  return cat(out, kRule);
}

}  // namespace

std::string render_check_text(const CheckResult& result) {
  std::string out;
  for (const auto& warning : result.warnings) {
    if (!out.empty()) out += "\n";
    out += cat("WARNING: ", warning.rule, warning.url.empty() ? "" : cat(" - ", warning.url), "\n",
               printable(warning.detail), "\n");
    if (warning.where.first_line == 0) continue;
    out += cat(printable(result.source->name()), ":", warning.where.first_line, "\n",
               excerpt(*result.source, warning.where));
  }
  return out;
}

std::string render_check_json(const CheckResult& result) {
  ordered_json warnings = ordered_json::array();
  for (const auto& warning : result.warnings) {
    ordered_json entry = {{"ruleName", warning.rule}, {"description", warning.description}};
    if (!warning.url.empty()) entry["url"] = warning.url;
    entry["detail"] = warning.detail;
    entry["location"] = location_json(warning.where);
    warnings.push_back(entry);
  }
  ordered_json document = {{"warnings", warnings}, {"sources", sources_json(result.source)}};
  if (result.error) {
    document["buildError"] = {{"message", result.error->message},
                              {"location", location_json(result.error->where.value_or(SourceRange{}))}};
  }
  return document_text(document);
}

std::string render_check_report(const CheckResult& result) {
  ordered_json warnings = ordered_json::array();
  for (const auto& warning : result.warnings) {
    ordered_json entry = {{"rule", warning.rule},
                          {"detail", warning.detail},
                          {"line", warning.where.first_line},
                          {"last_line", warning.where.last_line}};
    if (!warning.url.empty()) entry["url"] = warning.url;
    warnings.push_back(entry);
  }
  ordered_json error = nullptr;
  if (result.error) {
    error = {{"line", result.error->where ? result.error->where->first_line : 0},
             {"message", result.error->message},
             {"notes", result.error->notes}};
  }
  return document_text({{"warnings", warnings}, {"error", error}});
}

}  // namespace imgbuild::builder
