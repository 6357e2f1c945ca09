#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/source_text.h"

namespace imgbuild::parser {

/// One rule of an ignore file, or one --exclude pattern.
struct IgnorePattern {
  std::string text;  ///< cleaned, without the `!` (IGN-5)
  bool negated = false;
  int line = 0;  ///< 1-based line in the file; 0 for patterns from elsewhere
};

/// Decides which paths of a tree are left out (IGN-1…20). Linear-time matching, never a backtracking regex.
/// Immutable and safe to share between threads.
class IgnoreMatcher {
 public:
  /// Reads an ignore file. Throws SyntaxError with its line for a malformed pattern.
  static IgnoreMatcher parse(std::shared_ptr<const SourceText> file);
  /// From patterns in their written form (`!` allowed), for --exclude.
  static IgnoreMatcher from_patterns(const std::vector<std::string>& patterns);
  IgnoreMatcher();  ///< ignores nothing
  IgnoreMatcher(const IgnoreMatcher&);
  IgnoreMatcher& operator=(const IgnoreMatcher&);
  IgnoreMatcher(IgnoreMatcher&&) noexcept;
  IgnoreMatcher& operator=(IgnoreMatcher&&) noexcept;
  ~IgnoreMatcher();

  bool empty() const noexcept;
  bool has_negation() const noexcept;
  const std::vector<IgnorePattern>& patterns() const noexcept;

  /// What is known of a directory, handed down to its children so that each level costs only its own rules.
  /// Cheap to copy. `State()` stands for the root.
  class State {
   public:
    State();
    bool ignored() const noexcept { return ignored_; }
    /// The rule that decided last; -1 when none did.
    int rule() const noexcept { return rule_; }

   private:
    friend class IgnoreMatcher;
    std::shared_ptr<const std::vector<bool>> matched_;  // rules that matched a parent (IGN-15)
    bool ignored_ = false;
    int rule_ = -1;
  };

  /// The state of entry `path` (relative, `/`-separated, no leading slash) whose parent directory has
  /// `parent`.
  State enter(const State& parent, std::string_view path) const;
  /// True when an ignored directory may still hold something that is not ignored, so a walk has to enter it
  /// (IGN-20); false lets it be skipped unseen.
  bool may_hold_kept(const State& directory, std::string_view path) const;
  /// Convenience for one path: walks its parents.
  bool ignores(std::string_view path) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// Go's filepath.Match, for COPY wildcards (COPY-6). Throws SyntaxError for a malformed pattern.
bool match_path(std::string_view pattern, std::string_view path);

}  // namespace imgbuild::parser
