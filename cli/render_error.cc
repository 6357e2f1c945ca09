#include "cli/render_error.h"

#include "base/strings.h"

namespace imgbuild::cli {

namespace {

std::string heading(std::string_view word, std::string_view colour_code, bool colour) {
  return colour ? cat("\x1b[", colour_code, "m", word, ":\x1b[0m ") : cat(word, ": ");
}

/// The lines of a command's output, each safe to print.
std::string indent_output(const std::string& text) {
  std::string out;
  auto lines = split(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  for (const auto line : lines) out += cat("    | ", printable(line), "\n");
  return out;
}

}  // namespace

std::string render_error(const Error& error, bool colour) {
  std::string out = cat(heading("error", "1;31", colour), printable(error.message()), "\n");
  if (error.where()) out += render_excerpt(*error.where());
  if (const auto* failed = dynamic_cast<const StepFailed*>(&error);
      failed != nullptr && !failed->output_tail().empty()) {
    out += cat("  the end of its output:\n", indent_output(failed->output_tail()));
  }
  for (const auto& context : error.context()) out += cat("  while ", printable(context), "\n");
  for (const auto& note : error.notes()) out += cat("  note: ", printable(note), "\n");
  return out;
}

std::string render_warning(const std::string& rule, const std::string& text, const std::string& url,
                           const SourceRange& where, bool colour) {
  std::string out =
      cat(heading("warning", "1;33", colour), rule.empty() ? "" : cat(rule, ": "), printable(text), "\n");
  if (where.text) out += render_excerpt(where, 4);
  if (!url.empty()) out += cat("  see ", url, "\n");
  return out;
}

}  // namespace imgbuild::cli
