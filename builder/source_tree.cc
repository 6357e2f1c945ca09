#include "builder/source_tree.h"

#include "base/error.h"
#include "base/strings.h"
#include "builder/path_stack.h"
#include "oci/layer_path.h"

namespace imgbuild::builder {

ResolvedSource resolve_source(SourceTree& tree, const std::string& path, bool follow_last) {
  std::vector<std::string> ahead;
  push_components(ahead, path);
  ResolvedSource at{"", tree.find("")};
  int links = 0;
  // Behind a missing component the rest is kept as written, `..` taken by text.
  while (!ahead.empty()) {
    std::string name = std::move(ahead.back());
    ahead.pop_back();
    if (name == "..") {
      const auto slash = at.path.rfind('/');
      at.path.resize(slash == std::string::npos ? 0 : slash);
      at.node = tree.find(at.path);
      continue;
    }
    std::string next = at.path.empty() ? std::move(name) : cat(at.path, '/', name);
    const bool inside_directory = at.node && at.node->attributes.type == oci::FileType::directory;
    std::optional<SourceNode> node;
    if (inside_directory) node = tree.find(next);
    if (!node || node->attributes.type != oci::FileType::symlink || (ahead.empty() && !follow_last)) {
      at = {std::move(next), std::move(node)};
      continue;
    }
    if (++links > oci::kMaxLinks) throw Error(cat("\"/", printable(path), "\": too many links"));
    const std::string& target = node->attributes.link_target;
    if (target.starts_with('/')) at = {"", tree.find("")};
    push_components(ahead, target);
  }
  return at;
}

std::vector<Digest> SourceTree::content_digests(const std::vector<ListedFile>& files) {
  std::vector<Digest> digests;
  digests.reserve(files.size());
  for (const auto& file : files) digests.push_back(content_digest(file.path));
  return digests;
}

}  // namespace imgbuild::builder
