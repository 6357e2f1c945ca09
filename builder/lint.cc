#include "builder/lint.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/strings.h"
#include "parser/values.h"

namespace imgbuild::builder {

namespace {

struct Rule {
  std::string_view name;
  std::string_view description;
  bool experimental = false;
  bool has_page = true;
};

constexpr std::array<Rule, 22> kRules = {{
    {"StageNameCasing", "Stage names are written in lower case"},
    {"FromAsCasing", "FROM and AS are written in the same case"},
    {"NoEmptyContinuation", "A continued line is not followed by an empty line"},
    {"ConsistentInstructionCasing", "All instructions of a file are written in the same case"},
    {"DuplicateStageName", "Every stage has a name of its own"},
    {"ReservedStageName", "Stages are not called scratch or context"},
    {"JSONArgsRecommended", "CMD and ENTRYPOINT in JSON form let signals reach the program"},
    {"MaintainerDeprecated", "A label takes the place of MAINTAINER"},
    {"UndefinedArgInFrom", "FROM uses only declared arguments"},
    {"WorkdirRelativePath", "The first WORKDIR is absolute, so that it does not depend on the base image"},
    {"UndefinedVar", "Variables are defined before they are used"},
    {"MultipleInstructionsDisallowed", "Only the last CMD, ENTRYPOINT or HEALTHCHECK of a stage counts"},
    {"LegacyKeyValueFormat", "ENV and LABEL are written with an equals sign"},
    {"InvalidBaseImagePlatform", "The base image is for the platform that is built for", false, false},
    {"RedundantTargetPlatform", "The target platform is the default of FROM"},
    {"SecretsUsedInArgOrEnv", "Secrets do not belong in ARG or ENV, which the image keeps"},
    {"InvalidDefaultArgInFrom", "FROM is valid also with the default values of its arguments"},
    {"FromPlatformFlagConstDisallowed", "The platform of FROM is not fixed"},
    {"CopyIgnoredFile", "What COPY and ADD name is not excluded by the ignore file"},
    {"InvalidDefinitionDescription", "Comments above ARG and FROM describe what they define", true},
    {"ExposeProtoCasing", "Protocols of EXPOSE are written in lower case"},
    {"ExposeInvalidFormat", "EXPOSE names container ports only"},
}};

const Rule* find_rule(std::string_view name) {
  const auto found =
      std::find_if(kRules.begin(), kRules.end(), [&](const Rule& rule) { return rule.name == name; });
  return found == kRules.end() ? nullptr : found;
}

void read_names(std::string_view value, bool& all, std::set<std::string, std::less<>>& names) {
  if (value == "all") {
    all = true;
    return;
  }
  for (const auto name : split(value, ',')) names.emplace(trim(name));
}

/// The part of a comment behind `check=`; nothing when it is another comment.
std::optional<std::string_view> check_comment(std::string_view comment) {
  comment = trim(comment);
  if (comment.size() < 5 || !equal_ignoring_case(comment.substr(0, 5), "check")) return std::nullopt;
  comment = trim(comment.substr(5));
  if (!comment.starts_with('=')) return std::nullopt;
  comment = trim(comment.substr(1));
  return comment.substr(0, comment.find_first_of(" \t"));
}

/// The options of the first check comment above an instruction (LNT-6).
LintConfig own_config(const parser::Instruction& at) {
  for (const auto& comment : at.comments) {
    const auto options = check_comment(comment);
    if (!options) continue;
    try {
      return LintConfig::parse(*options);
    } catch (const SyntaxError&) {
      return {};
    }
  }
  return {};
}

}  // namespace

LintConfig LintConfig::parse(std::string_view text) {
  LintConfig config;
  if (trim(text).empty()) return config;
  for (const auto part : split(text, ';')) {
    const auto equals = part.find('=');
    const std::string_view key = trim(part.substr(0, equals));
    const std::string_view value = equals == std::string_view::npos ? "" : trim(part.substr(equals + 1));
    if (key == "skip" && equals != std::string_view::npos) {
      read_names(value, config.skip_all, config.skip);
    } else if (key == "experimental" && equals != std::string_view::npos) {
      read_names(value, config.experimental_all, config.experimental);
    } else if (key == "error" && equals != std::string_view::npos) {
      const auto flag = parser::parse_boolean(value);
      if (!flag) {
        throw SyntaxError(cat("failed to parse check options: failed to parse check option \"",
                              printable(trim(part)), "\": write true or false"));
      }
      config.error = *flag;
    } else {
      SyntaxError error(cat("failed to parse check options: invalid check option \"", printable(key), "\""));
      error.add_note(
          "known options are skip=, error= and experimental=, joined by a semicolon without blanks");
      throw error;
    }
  }
  return config;
}

std::string_view rule_description(std::string_view rule) {
  const Rule* known = find_rule(rule);
  return known ? known->description : std::string_view();
}

std::string rule_url(std::string_view rule) {
  const Rule* known = find_rule(rule);
  if (known == nullptr || !known->has_page) return {};
  std::string name;
  for (std::size_t i = 0; i < rule.size(); ++i) {
    const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
    const bool starts_word = i > 0 && is_upper(rule[i]) &&
                             (!is_upper(rule[i - 1]) || (i + 1 < rule.size() && !is_upper(rule[i + 1])));
    if (starts_word) name += '-';
    name += rule[i];
  }
  return cat("https://docs.docker.com/go/dockerfile/rule/", to_lower(name), "/");
}

Linter::Linter(const parser::Dockerfile& file, const BuildArgs& args, std::function<void(const Warned&)> sink)
    : sink_(std::move(sink)) {
  const auto replaced = args.find("BUILDKIT_DOCKERFILE_CHECK");
  try {
    config_ = LintConfig::parse(replaced != args.end() ? replaced->second : file.check.value_or(""));
  } catch (SyntaxError& error) {
    if (replaced == args.end()) error.locate({file.source, file.check_line, file.check_line, 0, 0});
    throw;
  }
}

bool Linter::wanted(std::string_view rule, const LintConfig& own) const {
  const Rule* known = find_rule(rule);
  if (known != nullptr && known->experimental) {
    return config_.experimental_all || own.experimental_all || config_.experimental.contains(rule) ||
           own.experimental.contains(rule);
  }
  return !config_.skip_all && !own.skip_all && !config_.skip.contains(rule) && !own.skip.contains(rule);
}

void Linter::hand_on(std::string_view rule, std::string detail, const SourceRange& where) {
  violated_.emplace(rule);
  if (sink_) sink_(Warned{std::string(rule), std::move(detail), rule_url(rule), where});
}

void Linter::report(std::string_view rule, std::string detail, const parser::Instruction& at) {
  if (wanted(rule, own_config(at))) hand_on(rule, std::move(detail), at.where);
}

void Linter::report(std::string_view rule, std::string detail, const SourceRange& where) {
  if (wanted(rule, {})) hand_on(rule, std::move(detail), where);
}

std::optional<std::string> Linter::suggestion(std::string_view wrong, std::size_t count,
                                              const std::function<std::vector<std::string>()>& names) {
  if (count > comparisons_left_) return std::nullopt;
  comparisons_left_ -= count;
  return nearest(wrong, names());
}

void Linter::finish() const {
  if (!config_.error || violated_.empty()) return;
  throw Error(cat("lint violation found for rules: ", join({violated_.begin(), violated_.end()}, ", ")),
              ExitCode::syntax);
}

bool names_a_secret(std::string_view key) {
  constexpr std::array<std::string_view, 10> kSecret = {
      "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"};
  constexpr std::array<std::string_view, 3> kHarmless = {"public", "file", "version"};
  const std::string lower = to_lower(key);
  bool secret = false;
  for (const auto word : split(lower, '_')) {
    if (std::find(kHarmless.begin(), kHarmless.end(), word) != kHarmless.end()) return false;
    if (std::find(kSecret.begin(), kSecret.end(), word) != kSecret.end()) secret = true;
  }
  return secret;
}

}  // namespace imgbuild::builder
