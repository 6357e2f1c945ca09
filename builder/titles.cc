#include "builder/titles.h"

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxCost = 1u << 20;

bool is_name_char(char c, bool first) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  return letter || (!first && c >= '0' && c <= '9');
}

/// The length of the variable reference at the start of `text`, which begins with `$`; 0 if it is none.
std::size_t reference_length(std::string_view text) {
  if (text.size() > 1 && text[1] == '{') {
    std::size_t depth = 0;
    for (std::size_t i = 1; i < text.size(); ++i) {
      if (text[i] == '{') ++depth;
      if (text[i] == '}' && --depth == 0) return i + 1;
    }
    return 0;
  }
  std::size_t end = 1;
  while (end < text.size() && is_name_char(text[end], end == 1)) ++end;
  return end == 1 ? 0 : end;
}

/// The value of the reference, or the reference itself when a variable in it is unknown.
std::string replaced(std::string_view reference, const parser::VariableLookup& lookup, char escape,
                     std::uint64_t& cost) {
  try {
    const auto expansion = parser::expand_word(reference, lookup, escape);
    cost += expansion.cost;
    if (expansion.unset.empty()) return expansion.text;
  } catch (const SyntaxError&) {
    // A title is only a text for people: what cannot be expanded is shown as written.
  }
  return std::string(reference);
}

std::string replace_known(std::string_view text, const parser::VariableLookup& lookup, char escape,
                          std::uint64_t& cost) {
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\'') quoted = !quoted;
    if (!quoted && c == escape && i + 1 < text.size()) {
      out += text.substr(i, 2);
      i += 2;
      continue;
    }
    const bool refers = !quoted && c == '$' && cost < kMaxCost;
    const std::size_t length = refers ? reference_length(text.substr(i)) : 0;
    if (length > 0) {
      out += replaced(text.substr(i, length), lookup, escape, cost);
      i += length;
      continue;
    }
    out += c;
    ++i;
  }
  return out;
}

}  // namespace

std::string step_title(const parser::Instruction& instruction, const parser::VariableLookup& lookup,
                       char escape, bool from_trigger, std::uint64_t& cost) {
  const std::string_view text = instruction.text;
  const std::size_t keyword = std::min(instruction.keyword.size(), text.size());
  return cat(from_trigger ? "ONBUILD " : "", to_upper(text.substr(0, keyword)),
             replace_known(text.substr(keyword), lookup, escape, cost));
}

std::string heredoc_summary(std::string_view data) {
  const std::string_view text = trim(data);
  const auto end = text.find('\n');
  const std::string_view first = text.substr(0, end);
  return cat("(", trim(first), end == std::string_view::npos ? "" : "...", ")");
}

}  // namespace imgbuild::builder
