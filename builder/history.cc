#include "builder/history.h"

#include "base/error.h"
#include "base/strings.h"
#include "parser/duration.h"

namespace imgbuild::builder {

namespace {

constexpr std::string_view kSuffix = " # buildkit";

/// Length of the well-formed UTF-8 sequence at the start of `text`, 0 if there is none. `code_point` is set.
std::size_t utf8_length(std::string_view text, char32_t& code_point) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80   ? 1
                             : lead < 0xC2 ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
  if (length == 0 || length > text.size()) return 0;
  code_point = length == 1 ? lead : static_cast<char32_t>(lead & (0x7F >> length));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    code_point = (code_point << 6) | (byte(i) & 0x3F);
  }
  const bool too_long = (length == 3 && code_point < 0x800) || (length == 4 && code_point < 0x10000);
  const bool surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
  return too_long || surrogate || code_point > 0x10FFFF ? 0 : length;
}

std::string hex(char32_t value, std::size_t digits) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out(digits, '0');
  for (std::size_t i = digits; i-- > 0; value >>= 4) out[i] = kDigits[value & 0xF];
  return out;
}

/// Blanks other than the space, controls and formatting marks are escaped; what remains is shown as it is.
bool is_graphic(char32_t c) {
  if (c < 0x20 || (c >= 0x7F && c <= 0xA0) || c == 0xAD) return false;
  if (c == 0x1680 || (c >= 0x2000 && c <= 0x200F) || (c >= 0x2028 && c <= 0x202F) ||
      (c >= 0x205F && c <= 0x206F)) {
    return false;
  }
  const bool private_use = (c >= 0xE000 && c <= 0xF8FF) || c >= 0xF0000;
  const bool no_character = (c & 0xFFFE) == 0xFFFE || (c >= 0xFDD0 && c <= 0xFDEF);
  return c != 0x3000 && c != 0xFEFF && !(c >= 0xFFF0 && c <= 0xFFFB) && !private_use && !no_character &&
         !(c >= 0xE0000 && c <= 0xE007F);
}

std::string escaped(char32_t c) {
  switch (c) {
    case '\a':
      return "\\a";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\v':
      return "\\v";
    default:
      break;
  }
  if (c < 0x20 || c == 0x7F) return cat("\\x", hex(c, 2));
  return c < 0x10000 ? cat("\\u", hex(c, 4)) : cat("\\U", hex(c, 8));
}

}  // namespace

std::string quote_word(std::string_view word) {
  std::string out = "\"";
  while (!word.empty()) {
    char32_t c = 0;
    const std::size_t length = utf8_length(word, c);
    if (length == 0) {
      out += cat("\\x", hex(static_cast<unsigned char>(word[0]), 2));
    } else if (c == '"' || c == '\\') {
      out += cat("\\", word[0]);
    } else if (is_graphic(c)) {
      out += word.substr(0, length);
    } else {
      out += escaped(c);
    }
    word.remove_prefix(length == 0 ? 1 : length);
  }
  return out + "\"";
}

std::string history_of_run(const std::vector<std::pair<std::string, std::string>>& args,
                           const std::vector<std::string>& argv) {
  std::string out = "RUN ";
  if (!args.empty()) out += cat("|", args.size(), " ");
  for (const auto& [name, value] : args) out += cat(name, "=", value, " ");
  return cat(out, join(argv, " "), kSuffix);
}

std::string history_of_copy(const CopyOp& op, const std::string& destination) {
  std::string out = op.is_add ? "ADD" : "COPY";
  if (op.parents) out += " --parents";
  if (!op.chown.empty()) out += cat(" --chown=", op.chown);
  if (!op.chmod.empty()) out += cat(" --chmod=", op.chmod);
  for (const auto& source : op.sources) out += cat(" ", source);
  for (const auto& [name, data] : op.inline_files) out += cat(" <<", name);
  return cat(out, " ", destination, kSuffix);
}

std::string history_of_pairs(std::string_view keyword,
                             const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string out(keyword);
  for (const auto& [key, value] : pairs) out += cat(" ", key, "=", value);
  return out;
}

std::string history_of_command(std::string_view keyword, const std::vector<std::string>& words) {
  std::vector<std::string> quoted;
  for (const auto& word : words) quoted.push_back(quote_word(word));
  return history_of_list(keyword, quoted);
}

std::string history_of_list(std::string_view keyword, const std::vector<std::string>& words) {
  return cat(keyword, " [", join(words, " "), "]");
}

std::string history_of_healthcheck(const oci::Healthcheck& check) {
  return cat("HEALTHCHECK {Test:[", join(check.test, " "),
             "] Interval:", parser::format_go_duration(check.interval_ns),
             " Timeout:", parser::format_go_duration(check.timeout_ns),
             " StartPeriod:", parser::format_go_duration(check.start_period_ns),
             " StartInterval:", parser::format_go_duration(check.start_interval_ns),
             " Retries:", check.retries, "}");
}

oci::HistoryEntry history_entry(std::string created_by, bool empty_layer) {
  oci::HistoryEntry entry;
  entry.created_by = std::move(created_by);
  entry.comment = "buildkit.dockerfile.v0";
  entry.empty_layer = empty_layer;
  return entry;
}

std::vector<oci::HistoryEntry> finished_history(const PlannedStage& stage) {
  constexpr std::size_t kMaxBytes = 8u << 20;  // LIM, of a config
  std::vector<oci::HistoryEntry> out = stage.history;
  std::size_t bytes = 0;
  for (const auto& step : stage.steps) {
    const auto* run = std::get_if<RunOp>(&step.op);
    if (run == nullptr) continue;
    std::string& text = out.at(step.history).created_by;
    text = history_of_run(run->scope.arguments(), run->argv);
    bytes += text.size();
    if (bytes > kMaxBytes) {
      Error error("the history of the image is larger than 8 MiB", ExitCode::syntax);
      error.locate(step.where);
      error.add_note(
          "every RUN line repeats the ARG values before it; declare arguments where they are used");
      throw error;
    }
  }
  return out;
}

}  // namespace imgbuild::builder
