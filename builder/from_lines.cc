#include "builder/from_lines.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "oci/reference.h"
#include "parser/place_of.h"
#include "parser/word_error.h"

namespace imgbuild::builder {

namespace {

/// A lookup that notes which names were found.
parser::VariableLookup noting(const GlobalScope& globals, std::set<std::string>& found) {
  return [&globals, &found](std::string_view name) -> std::optional<std::string_view> {
    const std::string* value = globals.find(name);
    if (value == nullptr) return std::nullopt;
    found.emplace(name);
    return *value;
  };
}

class FromLines {
 public:
  FromLines(const parser::Dockerfile& file, const GlobalScope& globals, const GlobalScope* defaults,
            Linter& linter, ExpansionBudget& budget)
      : escape_(file.escape), globals_(globals), defaults_(defaults), linter_(linter), budget_(budget) {}

  StageHead expand(const parser::Stage& stage) {
    StageHead head;
    try {
      expand_base(stage, head);
      if (stage.from_body().platform) expand_platform(stage, head);
    } catch (parser::WordError& error) {
      error.locate(parser::place_of(error.word(), stage.from.where));
      throw;
    } catch (Error& error) {
      error.locate(stage.from.where);
      throw;
    }
    return head;
  }

 private:
  void expand_base(const parser::Stage& stage, StageHead& head) {
    const std::string& written = stage.from_body().base;
    const auto expansion = parser::expand_word(written, noting(globals_, head.uses), escape_);
    budget_.spend(expansion.cost);
    report_undeclared(expansion.unset, stage);
    check_default(written, stage);
    if (expansion.text.empty()) {
      parser::WordError error(cat("base name (", printable(written), ") should not be blank"), written);
      suggest(error, expansion.unset);
      throw error;
    }
    head.base = expansion.text;
  }

  void expand_platform(const parser::Stage& stage, StageHead& head) {
    const std::string& written = *stage.from_body().platform;
    std::set<std::string> found;
    const auto expansion = parser::expand_word(written, noting(globals_, found), escape_);
    budget_.spend(expansion.cost);
    report_undeclared(expansion.unset, stage);
    head.uses.insert(found.begin(), found.end());
    if (expansion.text.empty()) {
      parser::WordError error(cat("empty platform value from expression ", printable(written)), written);
      suggest(error, expansion.unset);
      throw error;
    }
    try {
      head.platform = oci::Platform::parse(expansion.text);
    } catch (const Error& error) {
      parser::WordError located(error.message(), written);
      for (const auto& note : error.notes()) located.add_note(note);
      throw located;
    }
    check_platform(stage, expansion, found, *head.platform);
  }

  void check_platform(const parser::Stage& stage, const parser::Expansion& expansion,
                      const std::set<std::string>& found, const oci::Platform& platform) {
    if (!expansion.unset.empty()) return;
    const std::string& written = *stage.from_body().platform;
    if (found.size() == 1 && *found.begin() == "TARGETPLATFORM" &&
        expansion.text == *globals_.find("TARGETPLATFORM")) {
      linter_.report("RedundantTargetPlatform",
                     cat("Setting platform to predefined ", written,
                         " in FROM is redundant as this is the default behavior"),
                     stage.from);
    }
    if (!found.empty()) return;
    const std::string name = stage.from_body().stage_name.value_or("");
    if (name.find(platform.os) != std::string::npos || name.find(platform.architecture) != std::string::npos)
      return;
    linter_.report("FromPlatformFlagConstDisallowed",
                   cat("FROM --platform flag should not use constant value \"", expansion.text, "\""),
                   stage.from);
  }

  void report_undeclared(const std::set<std::string>& unset, const parser::Stage& stage) {
    for (const auto& name : unset) {
      if (globals_.is_declared(name)) continue;
      const auto close = linter_.suggestion(name, globals_.count(), [&] { return globals_.names(); });
      linter_.report("UndefinedArgInFrom",
                     cat("FROM argument '", name, "' is not declared",
                         close ? cat(" (did you mean ", *close, "?)") : ""),
                     stage.from);
    }
  }

  void suggest(SyntaxError& error, const std::set<std::string>& unset) const {
    for (const auto& name : unset) {
      const auto close = globals_.is_declared(name) ? std::nullopt : nearest(name, globals_.names());
      error.add_note(close ? cat("did you mean ", *close, "?") : cat(printable(name), " has no value"));
    }
  }

  /// Whether the line would also do without build arguments.
  void check_default(const std::string& written, const parser::Stage& stage) {
    if (defaults_ == nullptr || written.find('$') == std::string::npos) return;
    try {
      static_cast<void>(
          oci::Reference::parse(parser::expand_word(written, defaults_->lookup(), escape_).text));
    } catch (const SyntaxError&) {
      // `${X:?text}` demands a build argument on purpose.
    } catch (const Error&) {
      linter_.report("InvalidDefaultArgInFrom",
                     cat("Default value for ARG ", written, " results in empty or invalid base image name"),
                     stage.from);
    }
  }

  char escape_;
  const GlobalScope& globals_;
  const GlobalScope* defaults_;
  Linter& linter_;
  ExpansionBudget& budget_;
};

}  // namespace

GlobalScope::GlobalScope(const parser::Dockerfile& file, const Environment& automatic,
                         const BuildArgs& build_args, ExpansionBudget& budget)
    : automatic_(automatic), values_(automatic) {
  for (const auto& [name, value] : automatic.variables()) {
    if (const auto given = build_args.find(name); given != build_args.end()) values_.set(name, given->second);
  }
  for (const auto& instruction : file.global_args) {
    for (const auto& definition : std::get<parser::ArgInstruction>(instruction.body).args) {
      GlobalArg arg{definition.key, std::nullopt, definition.doc, instruction.where, {}};
      if (const auto given = build_args.find(arg.name); given != build_args.end()) {
        arg.value = given->second;
      } else if (definition.value) {
        try {
          auto expansion = parser::expand_word(*definition.value, noting(*this, arg.uses), file.escape);
          budget.spend(expansion.cost);
          arg.value = std::move(expansion.text);
        } catch (parser::WordError& error) {
          error.locate(parser::place_of(error.word(), instruction.where));
          throw;
        } catch (Error& error) {
          error.locate(instruction.where);
          throw;
        }
      }
      if (arg.value) values_.set(arg.name, *arg.value);
      places_.insert_or_assign(arg.name, declared_.size());
      declared_.push_back(std::move(arg));
    }
  }
}

bool GlobalScope::is_declared(std::string_view name) const {
  return is_automatic(name) || declaration(name) != nullptr;
}

const GlobalArg* GlobalScope::declaration(std::string_view name) const {
  const auto found = places_.find(name);
  return found == places_.end() ? nullptr : &declared_[found->second];
}

std::vector<std::string> GlobalScope::names() const {
  std::vector<std::string> out = automatic_.names();
  for (const auto& arg : declared_) out.push_back(arg.name);
  return out;
}

std::vector<StageHead> expand_from_lines(const parser::Dockerfile& file, const GlobalScope& globals,
                                         const GlobalScope* defaults, Linter& linter,
                                         ExpansionBudget& budget) {
  FromLines lines(file, globals, defaults, linter, budget);
  std::vector<StageHead> heads;
  for (const auto& stage : file.stages) heads.push_back(lines.expand(stage));
  return heads;
}

}  // namespace imgbuild::builder
