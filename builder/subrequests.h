#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "builder/evaluate.h"
#include "builder/outline.h"

namespace imgbuild::builder {

// Questions about a Dockerfile that build nothing (dockerfile.md section 9). The text forms are those of the
// reference, byte for byte, because scripts read them.

/// Arguments, secrets and ssh agents the target asks for (SUB-1). Base images are resolved. Throws like
/// evaluate().
Outline outline_of(const parser::Dockerfile& file, const EvaluateOptions& options, BaseResolver& bases);

/// A stage somebody may name with --target (SUB-2).
struct TargetInfo {
  std::string name;
  bool is_default = false;
  std::string description;
  std::string base;      ///< unexpanded
  std::string platform;  ///< unexpanded
  SourceRange where;
};
/// All stages in file order. Resolves nothing.
std::vector<TargetInfo> targets_of(const parser::Dockerfile& file);

enum class Subrequest { outline, targets, lint, describe };
/// `outline` or `frontend.outline`, and so on. Throws Error for an unknown one.
Subrequest parse_subrequest(std::string_view name);

std::string render_outline_text(const Outline& outline);
std::string render_outline_json(const Outline& outline, const std::shared_ptr<const SourceText>& source);
std::string render_targets_text(const std::vector<TargetInfo>& targets);
std::string render_targets_json(const std::vector<TargetInfo>& targets,
                                const std::shared_ptr<const SourceText>& source);
/// The list of sub-requests (SUB-5).
std::string render_description_text();
std::string render_description_json();

}  // namespace imgbuild::builder
