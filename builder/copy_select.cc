#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/copy_selection.h"
#include "builder/copy_wildcard.h"
#include "parser/ignore_file.h"
#include "parser/path_pattern.h"
#include "parser/paths.h"

namespace imgbuild::builder {

namespace {

using oci::FileType;

bool is_directory(const SourceNode& node) { return node.attributes.type == FileType::directory; }

parser::IgnoreMatcher exclude_matcher(const std::vector<std::string>& patterns) {
  try {
    return parser::IgnoreMatcher::from_patterns(patterns);
  } catch (const SyntaxError&) {
    throw SyntaxError(
        cat("invalid excludepatterns: [", printable(join(patterns, " ")), "]: syntax error in pattern"));
  }
}

/// Everything below one directory that the excludes leave, and of --parents only what the pattern includes.
/// Paths of patterns are relative to that directory (COPY-91).
class TreeSelector {
 public:
  TreeSelector(SourceTree& tree, const parser::IgnoreMatcher& excludes) : tree_(tree), excludes_(excludes) {}

  /// Only what `pattern` (clean) matches is wanted (COPY-82).
  void include_only(const std::string& pattern) {
    include_pattern_.emplace(pattern);
    // Here `!` is an ordinary character.
    const std::string text = pattern.starts_with('!') ? "[!]" + pattern.substr(1) : pattern;
    include_ = parser::IgnoreMatcher::from_patterns({text});
  }

  /// `listings` gets what the nodes are in.
  std::vector<SelectedNode> below(const std::string& path, std::vector<SourceListing>& listings) {
    prefix_ = path;
    listings_ = &listings;
    if (!include_pattern_) tree_.prefetch(path);
    return children("", {}, {}, !include_pattern_);
  }

 private:
  using State = parser::IgnoreMatcher::State;

  std::vector<SelectedNode> children(const std::string& directory, const State& excluded,
                                     const State& included, bool all_included) {
    std::vector<SelectedNode> selected;
    const SourceListing listed = tree_.list(join_path(prefix_, directory));
    if (!listed.empty()) listings_->push_back(listed);
    selected.reserve(listed.size());
    for (const auto& child : listed) {
      const auto& [name, node] = child;
      const bool needs_path = !excludes_.empty() || !all_included || is_directory(node);
      const std::string path = needs_path ? join_path(directory, name) : std::string();
      const State exclude = excludes_.empty() ? State() : excludes_.enter(excluded, path);
      State include;
      bool wanted = all_included;
      if (!wanted) {
        include = include_.enter(included, path);
        wanted = include.ignored();
      }
      SelectedNode entry(child, !wanted || exclude.ignored());
      if (is_directory(node) && may_hold_more(path, exclude, wanted)) {
        entry.set_children(children(path, exclude, include, wanted));
      }
      if (!entry.on_the_way() || !entry.children().empty()) selected.push_back(std::move(entry));
    }
    return selected;
  }

  bool may_hold_more(const std::string& path, const State& exclude, bool wanted) const {
    if (exclude.ignored() && !excludes_.may_hold_kept(exclude, path)) return false;
    return wanted || include_pattern_->may_match_below(path);
  }

  SourceTree& tree_;
  const parser::IgnoreMatcher& excludes_;
  std::optional<parser::PathPattern> include_pattern_;
  parser::IgnoreMatcher include_;
  std::string prefix_;
  std::vector<SourceListing>* listings_ = nullptr;
};

class Selector {
 public:
  Selector(const CopyRequest& request, SourceTree& tree)
      : request_(request), tree_(tree), excludes_(exclude_matcher(request.excludes)) {}

  SelectedSource select(const std::string& text) {
    return request_.parents ? with_parents(text) : plain(text);
  }

 private:
  SelectedSource plain(const std::string& text) {
    const std::string path = clean_source(text);
    SelectedSource source;
    source.key_name = base_name_of(path);
    source.wildcard = has_wildcard(path);
    if (!source.wildcard) {
      source.matches.push_back(match(path));
      return source;
    }
    for (const auto& found : expand_wildcard(tree_, path)) source.matches.push_back(match(found));
    return source;
  }

  /// A match without what is below it.
  static Match match_of(std::string base_name, ResolvedSource real) {
    const SourceListing alone({{std::string(), std::move(*real.node)}});
    return {std::move(base_name), std::move(real.path), SelectedNode(alone[0], false), {alone}};
  }

  Match match(const std::string& path) {
    ResolvedSource real = resolve_source(tree_, path, true);
    if (!real.node) throw_not_found(tree_, path);
    Match result = match_of(base_name_of(path), std::move(real));
    if (is_directory(result.top.source()))
      result.top.set_children(TreeSelector(tree_, excludes_).below(result.path, result.listings));
    return result;
  }

  /// The part before the first `/./` is the root of the copy, the part behind it is a pattern below
  /// (COPY-81).
  SelectedSource with_parents(const std::string& text) {
    const auto pivot = text.find("/./");
    const std::string root_text = pivot == std::string::npos ? "" : clean_source(text.substr(0, pivot));
    const std::string pattern = clean_source(pivot == std::string::npos ? text : text.substr(pivot + 3));
    if (!parser::is_well_formed_pattern(pattern)) {
      throw SyntaxError(cat("\"", printable(text), "\": syntax error in pattern"));
    }
    ResolvedSource root = resolve_source(tree_, root_text, true);
    if (!root.node || !is_directory(*root.node)) throw_not_found(tree_, join_path(root_text, pattern));
    if (!has_wildcard(pattern)) need_literal(root.path, pattern);

    SelectedSource source;
    source.key_name = pattern;
    source.wildcard = has_wildcard(pattern);
    source.parents = true;
    Match result = match_of(base_name_of(root_text), std::move(root));
    TreeSelector selector(tree_, excludes_);
    selector.include_only(pattern);
    result.top.set_children(selector.below(result.path, result.listings));
    source.matches.push_back(std::move(result));
    return source;
  }

  /// A pattern without wildcards must name something; links on the way are not followed (COPY-84, 85).
  void need_literal(const std::string& root, const std::string& pattern) {
    if (pattern.empty()) {
      SourceError error("\"/\": not found");
      error.add_note("--parents needs a name below the source's root, such as \"./*\"");
      throw error;
    }
    const std::string path = join_path(root, pattern);
    for (auto slash = path.find('/', root.empty() ? 0 : root.size() + 1); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      const auto parent = tree_.find(path.substr(0, slash));
      if (!parent || !is_directory(*parent)) throw_not_found(tree_, path);
    }
    if (!tree_.find(path)) throw_not_found(tree_, path);
  }

  const CopyRequest& request_;
  SourceTree& tree_;
  const parser::IgnoreMatcher excludes_;
};

std::uint64_t bytes_of(const SelectedNode& node) {
  std::uint64_t sum = node.source().attributes.type == FileType::regular ? node.source().attributes.size : 0;
  for (const auto& child : node.children()) sum += bytes_of(child);
  return sum;
}

}  // namespace

std::string clean_source(const std::string& text) { return parser::clean_path("/" + text).substr(1); }

void throw_not_found(SourceTree& tree, const std::string& path) {
  SourceError error(cat("\"/", printable(path), "\": not found"));
  if (auto why = tree.explain_absence(path)) error.add_note(cat("it exists, but is left out by ", *why));
  throw error;
}

Selection::Selection(CopyRequest request, SourceTree& tree, std::vector<SelectedSource> sources)
    : request_(std::move(request)), tree_(tree), sources_(std::move(sources)) {
  for (const auto& source : sources_) {
    for (const auto& match : source.matches) total_bytes_ += bytes_of(match.top);
  }
  for (const auto& file : request_.inline_files) total_bytes_ += file.second.size();
}

std::unique_ptr<CopySelection> select_sources(const CopyRequest& request, SourceTree& tree) {
  Selector selector(request, tree);
  std::vector<SelectedSource> sources;
  for (const auto& file : request.inline_files) {
    const std::string& name = file.first;
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
      throw Error(cat("open /", printable(name), ": no such file or directory"))
          .with_note("the name of a here-document becomes a file name; it cannot have a slash in it");
    }
  }
  for (const auto& text : request.sources) {
    try {
      sources.push_back(selector.select(text));
    } catch (SourceError& error) {
      error.set_source(text);
      throw;
    }
  }
  return std::make_unique<Selection>(request, tree, std::move(sources));
}

}  // namespace imgbuild::builder
