#include <algorithm>

#include "base/digest.h"
#include "base/error.h"
#include "base/strings.h"
#include "builder/evaluate_instruction.h"
#include "builder/history.h"
#include "parser/file_mode.h"
#include "parser/git_reference.h"
#include "parser/paths.h"
#include "parser/word_error.h"

namespace imgbuild::builder {

namespace {

bool is_url(std::string_view text) { return text.starts_with("http://") || text.starts_with("https://"); }

/// A git source of ADD; forms that only count as a build context are paths here (ADD-40).
std::optional<parser::GitReference> find_git(std::string_view text) {
  auto git = parser::parse_git_reference(text);
  if (git && git->context_only) git.reset();
  return git;
}

/// COPY-60, COPY-62; `written` is what stands in the file.
void check_chmod(const std::string& chmod, const std::string& written) {
  if (chmod.empty()) return;
  try {
    static_cast<void>(parser::FileModeChange::parse(chmod));
  } catch (const SyntaxError& error) {
    throw parser::WordError(error, cat("--chmod=", written));
  }
}

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

/// ADD-25, for HTTP: `algorithm:hex`.
void check_digest(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size()) {
    throw SyntaxError(cat("invalid checksum digest format: \"", printable(text), "\""));
  }
  const std::string_view algorithm = text.substr(0, colon);
  const std::size_t digits = algorithm == "sha256"   ? 64
                             : algorithm == "sha384" ? 96
                             : algorithm == "sha512" ? 128
                                                     : 0;
  if (digits == 0) {
    SyntaxError error(cat("unsupported digest algorithm \"", printable(algorithm), "\""));
    error.add_note("known algorithms are sha256, sha384 and sha512");
    throw error;
  }
  const std::string_view hex = text.substr(colon + 1);
  if (hex.size() != digits || !is_hex(hex)) {
    throw SyntaxError(
        cat("invalid checksum digest format: ", algorithm, " needs ", digits, " lower-case hex digits"));
  }
}

}  // namespace

void InstructionEvaluator::operator()(const parser::CopyInstruction& copy) {
  CopyOp op;
  op.is_add = copy.is_add;
  const std::string step_title = title();
  op.from = origin_of(copy);
  for (const auto& source : copy.sources) op.sources.push_back(expand(source));
  for (const auto& file : copy.inline_sources) {
    std::string data = file.data;
    if (file.expand) {
      auto expansion = parser::expand_heredoc(data, stage_.scope.lookup());
      spend(expansion.cost);
      report_undefined(expansion.unset);
      data = std::move(expansion.text);
    }
    op.inline_files.emplace_back(file.path, std::move(data));
  }
  const std::string destination = expand(copy.destination);
  op.destination = destination_of(destination);
  op.chown = expand(copy.chown);
  op.chmod = expand(copy.chmod);
  check_chmod(op.chmod, copy.chmod);
  op.link = copy.link && op.chmod.empty();  // COPY-72
  op.parents = copy.parents;
  op.excludes = copy.excludes;
  op.checksum = expand(copy.checksum);
  op.keep_git_dir = copy.keep_git_dir;
  op.unpack = copy.unpack;
  check_sources(op);
  check_ignored(op);
  std::string created_by = history_of_copy(op, destination);
  add_step(std::move(op), step_title, std::move(created_by));
}

/// A variable in --from may name a stage or a named context, not an image
/// (docs/adr/0005-variables-in-copy-from.md).
Origin InstructionEvaluator::origin_of(const parser::CopyInstruction& copy) {
  const std::string from = copy.from.value_or("");
  if (from.empty()) return FromContext{};
  if (from.find('$') == std::string::npos) return evaluation_.copy_source(from, number_);
  const std::string name = expand(from);
  if (!name.empty()) {
    if (auto origin = evaluation_.find_local_source(name, number_)) return *origin;
  }
  SyntaxError error(
      cat("variable expansion is not supported for --from unless it gives the name of a stage or a named "
          "context, and \"",
          printable(name), "\" is neither"));
  error.add_note("for an image define a new stage with FROM, using an ARG in front of the first FROM");
  throw error;
}

/// COPY-21, COPY-23: absolute and clean; a trailing `/` says that it is a directory.
std::string InstructionEvaluator::destination_of(const std::string& expanded) const {
  const bool directory =
      expanded.empty() || expanded == "." || expanded.ends_with('/') || expanded.ends_with("/.");
  std::string path = join_workdir(expanded);
  if (directory && path != "/") path += '/';
  return path;
}

void InstructionEvaluator::check_sources(const CopyOp& op) const {
  if (!op.is_add) {
    for (const auto& source : op.sources) {
      if (find_git(source))
        throw parser::WordError(cat("source can't be a git ref for COPY: ", printable(source)), source);
      if (is_url(source))
        throw parser::WordError(cat("source can't be a URL for COPY: ", printable(source)), source);
    }
    return;
  }
  if (!op.checksum.empty() && op.sources.size() + op.inline_files.size() > 1) {
    throw SyntaxError("checksum can't be specified for multiple sources");
  }
  if (!op.checksum.empty() && op.sources.empty())
    throw SyntaxError("checksum requires HTTP(S) or Git sources");
  for (const auto& source : op.sources) check_remote_source(op, source);
}

void InstructionEvaluator::check_remote_source(const CopyOp& op, const std::string& source) const {
  if (const auto git = find_git(source)) {
    if (op.keep_git_dir && git->keep_git_dir && *op.keep_git_dir != *git->keep_git_dir) {
      throw SyntaxError("inconsistent keep-git-dir configuration: the flag and the URL do not agree");
    }
    if (!op.checksum.empty() && !git->checksum.empty() && op.checksum != git->checksum) {
      throw SyntaxError(
          cat("checksum mismatch \"", printable(op.checksum), "\" != \"", printable(git->checksum), "\""));
    }
  } else if (is_url(source)) {
    if (!op.checksum.empty()) check_digest(op.checksum);
  } else if (!op.checksum.empty()) {
    throw SyntaxError("checksum requires HTTP(S) or Git sources");
  }
}

/// CopyIgnoredFile: only the main context, and not when the file takes anything back.
void InstructionEvaluator::check_ignored(const CopyOp& op) {
  const auto* context = std::get_if<FromContext>(&op.from);
  const parser::IgnoreMatcher* ignore = evaluation_.options().ignore;
  if (context == nullptr || !context->name.empty() || ignore == nullptr || ignore->empty() ||
      ignore->has_negation())
    return;
  const std::string& name = evaluation_.options().ignore_name;
  for (const auto& source : op.sources) {
    if (is_url(source) || find_git(source)) continue;
    std::string path = parser::clean_path(source);
    path.erase(0, path.find_first_not_of('/'));
    if (!ignore->ignores(path)) continue;
    evaluation_.linter().report("CopyIgnoredFile",
                                cat("Attempting to ", op.is_add ? "Add" : "Copy", " file \"", source,
                                    "\" that is excluded by ", name.empty() ? ".dockerignore" : name),
                                instruction_);
  }
}

}  // namespace imgbuild::builder
