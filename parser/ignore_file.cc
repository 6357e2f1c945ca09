#include "parser/ignore_file.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "parser/code_points.h"
#include "parser/limits.h"
#include "parser/path_pattern.h"
#include "parser/paths.h"
#include "parser/physical_lines.h"

namespace imgbuild::parser {

struct IgnoreMatcher::Impl {
  std::vector<IgnorePattern> patterns;
  std::vector<PathPattern> compiled;  // one a pattern
  bool has_negation = false;

  /// Takes a pattern in its written form, `!` included (IGN-4).
  void add(std::string_view written, int line) {
    if (patterns.size() == kMaxIgnorePatterns)
      throw SyntaxError(cat("more than ", kMaxIgnorePatterns, " patterns"));
    std::string text = clean_path(written);
    const bool negated = text.starts_with('!');
    if (negated) text.erase(0, 1);
    if (text.empty()) throw SyntaxError("illegal exclusion pattern: \"!\"");
    compiled.emplace_back(text);
    patterns.push_back({std::move(text), negated, line});
    has_negation = has_negation || negated;
  }
};

namespace {

/// A line of an ignore file without what only the reader understands: comments, blanks, leading slashes
/// (IGN-2…5). Empty when nothing is left.
std::string read_line(std::string_view line) {
  if (line.starts_with('#')) return {};
  line = trim_blanks(line);
  const bool negated = line.starts_with('!');
  if (negated) line = trim_blanks(line.substr(1));
  std::string pattern = line.empty() ? std::string() : clean_path(line);
  if (pattern.size() > 1 && pattern.front() == '/') pattern.erase(0, 1);
  return negated ? "!" + pattern : pattern;
}

}  // namespace

IgnoreMatcher IgnoreMatcher::parse(std::shared_ptr<const SourceText> file) {
  if (file->text().size() > kMaxIgnoreFileBytes) {
    throw SyntaxError("the ignore file is larger than 4 MiB", {file, 0, 0, 0, 0});
  }
  auto impl = std::make_shared<Impl>();
  PhysicalLines lines(file);
  while (lines.next()) {
    const std::string pattern = read_line(lines.text());
    if (pattern.empty()) continue;
    try {
      impl->add(pattern, lines.number());
    } catch (SyntaxError& error) {
      error.locate(lines.range());
      throw;
    }
  }
  IgnoreMatcher matcher;
  matcher.impl_ = std::move(impl);
  return matcher;
}

IgnoreMatcher IgnoreMatcher::from_patterns(const std::vector<std::string>& patterns) {
  auto impl = std::make_shared<Impl>();
  for (const auto& pattern : patterns) {
    const std::string_view text = trim_blanks(pattern);
    if (!text.empty()) impl->add(text, 0);
  }
  IgnoreMatcher matcher;
  matcher.impl_ = std::move(impl);
  return matcher;
}

IgnoreMatcher::IgnoreMatcher() : impl_(std::make_shared<Impl>()) {}
IgnoreMatcher::IgnoreMatcher(const IgnoreMatcher&) = default;
IgnoreMatcher& IgnoreMatcher::operator=(const IgnoreMatcher&) = default;
IgnoreMatcher::IgnoreMatcher(IgnoreMatcher&&) noexcept = default;
IgnoreMatcher& IgnoreMatcher::operator=(IgnoreMatcher&&) noexcept = default;
IgnoreMatcher::~IgnoreMatcher() = default;

IgnoreMatcher::State::State() = default;

bool IgnoreMatcher::empty() const noexcept { return impl_->patterns.empty(); }
bool IgnoreMatcher::has_negation() const noexcept { return impl_->has_negation; }
const std::vector<IgnorePattern>& IgnoreMatcher::patterns() const noexcept { return impl_->patterns; }

IgnoreMatcher::State IgnoreMatcher::enter(const State& parent, std::string_view path) const {
  State state;
  state.matched_ = parent.matched_;
  // Copied only when this entry adds a rule of its own; most do not.
  std::shared_ptr<std::vector<bool>> own;
  for (std::size_t i = 0; i < impl_->patterns.size(); ++i) {
    const bool negated = impl_->patterns[i].negated;
    const bool inherited = parent.matched_ && (*parent.matched_)[i];
    if (!inherited) {
      if (negated != state.ignored_ || !impl_->compiled[i].matches(path)) continue;  // IGN-16
      if (!own) {
        own = parent.matched_ ? std::make_shared<std::vector<bool>>(*parent.matched_)
                              : std::make_shared<std::vector<bool>>(impl_->patterns.size());
      }
      (*own)[i] = true;
    }
    state.ignored_ = !negated;
    state.rule_ = static_cast<int>(i);
  }
  if (own) state.matched_ = std::move(own);
  return state;
}

bool IgnoreMatcher::may_hold_kept(const State& directory, std::string_view path) const {
  if (!directory.ignored_) return true;
  // Every rule up to the deciding one applies to the children as well, so only a later negation can save one.
  for (auto i = static_cast<std::size_t>(directory.rule_ + 1); i < impl_->patterns.size(); ++i) {
    if (impl_->patterns[i].negated && impl_->compiled[i].may_match_below(path)) return true;
  }
  return false;
}

bool IgnoreMatcher::ignores(std::string_view path) const {
  State state;
  for (std::size_t at = 0; at < path.size();) {
    at = std::min(path.find('/', at + 1), path.size());
    state = enter(state, path.substr(0, at));
  }
  return state.ignored();
}

}  // namespace imgbuild::parser
