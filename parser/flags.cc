#include "parser/flags.h"

#include <algorithm>

#include "base/strings.h"
#include "parser/word_error.h"

namespace imgbuild::parser {

namespace {

[[noreturn]] void unknown_flag(std::string_view name, const std::vector<FlagRule>& allowed) {
  std::vector<std::string> names;
  for (const auto& rule : allowed) names.emplace_back(rule.name);
  WordError error(cat("unknown flag: --", printable(name)), cat("--", name));
  if (const auto close = nearest(name, names)) error.add_note(cat("did you mean --", *close, "?"));
  throw error;
}

bool boolean_value(std::string_view name, bool has_value, std::string_view value) {
  if (!has_value) return true;
  const std::string lower = to_lower(value);
  if (lower != "true" && lower != "false") {
    throw WordError(cat("expecting boolean value for flag --", name, ", not: ", printable(value)),
                    cat("--", name, "=", value));
  }
  return lower == "true";
}

}  // namespace

Flags::Flags(const std::vector<std::string>& written, const std::vector<FlagRule>& allowed) {
  for (const auto& word : written) add(word, allowed);
}

void Flags::add(const std::string& word, const std::vector<FlagRule>& allowed) {
  const std::string_view flag = std::string_view(word).substr(2);
  const auto equals = flag.find('=');
  const bool has_value = equals != std::string_view::npos;
  const std::string_view name = flag.substr(0, equals);
  const std::string_view value = has_value ? flag.substr(equals + 1) : std::string_view();

  const auto rule =
      std::find_if(allowed.begin(), allowed.end(), [&](const FlagRule& r) { return r.name == name; });
  if (rule == allowed.end()) unknown_flag(name, allowed);
  if (rule->kind != FlagKind::repeated && find(name)) {
    throw WordError(cat("duplicate flag specified: --", name), cat("--", name));
  }
  const bool missing = rule->kind == FlagKind::boolean ? has_value && value.empty() : !has_value;
  if (missing) throw WordError(cat("missing a value on flag: --", name), cat("--", name));
  const bool on = rule->kind == FlagKind::boolean && boolean_value(name, has_value, value);
  flags_.push_back({std::string(name), std::string(value), on});
}

const Flags::Flag* Flags::find(std::string_view name) const {
  const auto found =
      std::find_if(flags_.begin(), flags_.end(), [&](const Flag& flag) { return flag.name == name; });
  return found == flags_.end() ? nullptr : &*found;
}

std::optional<std::string> Flags::text(std::string_view name) const {
  const Flag* flag = find(name);
  return flag ? std::optional(flag->value) : std::nullopt;
}

std::optional<std::string> Flags::text_unless_empty(std::string_view name) const {
  auto value = text(name);
  if (value && value->empty()) value.reset();
  return value;
}

std::vector<std::string> Flags::all(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& flag : flags_) {
    if (flag.name == name) values.push_back(flag.value);
  }
  return values;
}

std::optional<bool> Flags::boolean(std::string_view name) const {
  const Flag* flag = find(name);
  return flag ? std::optional(flag->on) : std::nullopt;
}

}  // namespace imgbuild::parser
