#include "builder/copy_wildcard.h"

#include "base/error.h"
#include "base/strings.h"
#include "builder/copy_selection.h"
#include "parser/ignore_file.h"
#include "parser/path_pattern.h"

namespace imgbuild::builder {

namespace {

/// Walks the tree below `base` and collects what matches.
class WildcardWalk {
 public:
  WildcardWalk(SourceTree& tree, std::string base, std::string pattern)
      : tree_(tree), base_(std::move(base)), pattern_(std::move(pattern)) {
    // Neither `*` nor `?` matches a slash, so a path can only match with as many components as the pattern
    // has, and each component on its own. A class may match a slash; a backslash may hide one.
    by_component_ = pattern_.find_first_of("[\\") == std::string::npos;
    if (by_component_) {
      for (const auto part : split(pattern_, '/')) parts_.emplace_back(part);
    }
  }

  std::vector<std::string> run() {
    visit("", 0);
    return std::move(found_);
  }

 private:
  void visit(const std::string& directory, std::size_t depth) {
    for (const auto& [name, node] : tree_.list(join_path(base_, directory))) {
      const std::string path = join_path(directory, name);
      const bool last = by_component_ && depth + 1 == parts_.size();
      const bool matched =
          by_component_ ? parser::match_path(parts_[depth], name) : parser::match_path(pattern_, path);
      if (matched && (last || !by_component_)) {
        found_.push_back(join_path(base_, path));
      } else if (node.attributes.type == oci::FileType::directory &&
                 (by_component_ ? matched && !last : true)) {
        visit(path, depth + 1);
      }
    }
  }

  SourceTree& tree_;
  const std::string base_;
  const std::string pattern_;
  bool by_component_ = false;
  std::vector<std::string> parts_;
  std::vector<std::string> found_;
};

}  // namespace

bool has_wildcard(std::string_view path) noexcept {
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '\\')
      ++i;
    else if (path[i] == '*' || path[i] == '?' || path[i] == '[')
      return true;
  }
  return false;
}

std::vector<std::string> expand_wildcard(SourceTree& tree, const std::string& pattern) {
  std::string fixed, moving;
  for (const auto part : split(pattern, '/')) {
    std::string& side = !moving.empty() || has_wildcard(part) ? moving : fixed;
    if (!side.empty()) side += '/';
    side += part;
  }
  if (!parser::is_well_formed_pattern(moving)) {
    throw SyntaxError(cat("\"", printable(pattern), "\": syntax error in pattern"));
  }
  const ResolvedSource base = resolve_source(tree, fixed, true);
  if (!base.node) {
    auto error = Error(cat("lstat /", printable(fixed), ": no such file or directory"));
    if (auto why = tree.explain_absence(fixed)) error.add_note(cat("it exists, but is left out by ", *why));
    throw error;
  }
  if (base.node->attributes.type != oci::FileType::directory) return {};
  return WildcardWalk(tree, base.path, moving).run();
}

}  // namespace imgbuild::builder
