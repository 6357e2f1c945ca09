#pragma once

#include <memory>
#include <optional>
#include <stop_token>

#include "builder/build.h"
#include "builder/evaluate.h"
#include "builder/source_tree.h"
#include "parser/ignore_file.h"

namespace imgbuild::builder {

/// The Dockerfile's text, the ignore rules and the main context of one build, located and read (PAR-1,
/// CTX-1…7).
struct BuildInputs {
  std::shared_ptr<const SourceText> dockerfile_text;
  parser::IgnoreMatcher ignore;
  std::string ignore_name;  ///< for messages; empty without an ignore file
  std::shared_ptr<SourceTree> context;
  std::shared_ptr<void> keep_alive;          ///< a temporary directory behind the context
  std::optional<std::int64_t> context_time;  ///< of a commit, a download, or the newest file of an archive
};

/// Throws SyntaxError or Error with what to try.
BuildInputs load_inputs(const BuildRequest& request, Host& host, std::stop_token stop);

/// What `request` means for the evaluation of these inputs, which must outlive the result.
EvaluateOptions evaluate_options(const BuildRequest& request, const BuildInputs& inputs);

}  // namespace imgbuild::builder
