#include "builder/stage_source.h"

#include <mutex>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "base/stream.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

class StageSource final : public SourceTree {
 public:
  StageSource(oci::FileTree tree, std::shared_ptr<ContentProvider> content)
      : tree_(std::move(tree)), content_(std::move(content)) {}

  std::optional<SourceNode> find(const std::string& path) override {
    const auto node = tree_.find(path);
    if (!node) return std::nullopt;
    return source_node(*node);
  }

  SourceListing list(const std::string& path) override {
    const auto directory = tree_.find(path);
    if (!directory) return {};
    std::vector<SourceListing::Entry> children;
    children.reserve(directory->children.size());
    for (const auto& [name, node] : directory->children) children.emplace_back(name, source_node(*node));
    return SourceListing(std::move(children));
  }

  oci::ContentOpener open(const std::string& path) override {
    const auto node = regular_file(path);
    if (!node->origin) return [] { return std::make_unique<StringSource>(""); };
    // The provider is kept: the opener may wait for its turn longer than the step that made it.
    return [content = content_, open = content_->open(*node->origin)] { return open(); };
  }

  Digest content_digest(const std::string& path) override {
    const auto node = regular_file(path);
    if (node->content) return *node->content;
    {
      const std::lock_guard guard(mutex_);
      if (const auto known = digests_.find(path); known != digests_.end()) return known->second;
    }
    const auto source = open(path)();
    NullSink nowhere;
    HashSink hash(nowhere);
    if (copy(*source, hash) != node->attributes.size) {
      throw IntegrityError(
          cat("the layer of \"/", printable(path), "\" holds another size than its index says"));
    }
    const Digest digest = hash.digest();
    const std::lock_guard guard(mutex_);
    digests_.emplace(path, digest);
    return digest;
  }

 private:
  static SourceNode source_node(const oci::FileNode& node) { return {node.attributes, node.link_group}; }

  oci::FileNodePtr regular_file(const std::string& path) const {
    auto node = tree_.find(path);
    if (!node || node->attributes.type != oci::FileType::regular) {
      throw Error(cat("\"/", printable(path), "\" is no regular file"));
    }
    return node;
  }

  const oci::FileTree tree_;
  const std::shared_ptr<ContentProvider> content_;
  std::mutex mutex_;
  std::unordered_map<std::string, Digest> digests_;
};

}  // namespace

std::unique_ptr<SourceTree> make_stage_source(oci::FileTree tree, std::shared_ptr<ContentProvider> content) {
  return std::make_unique<StageSource>(std::move(tree), std::move(content));
}

}  // namespace imgbuild::builder
