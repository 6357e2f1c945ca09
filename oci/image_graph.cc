#include "oci/image_graph.h"

#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "oci/media_type.h"

namespace imgbuild::oci {

namespace {

constexpr std::size_t kMaxManifests = 1000;

class Walk {
 public:
  Walk(const BlobStore& blobs, Children children) : blobs_(blobs), children_(children) {}

  void visit(const Descriptor& target, int depth) {
    if (is_schema1_type(target.media_type)) throw IntegrityError("images of schema 1 are not supported");
    if (is_index_type(target.media_type)) {
      visit_index(target, depth);
    } else if (is_manifest_type(target.media_type)) {
      visit_manifest(target);
    } else {
      throw IntegrityError(
          cat("\"", printable(target.media_type), "\" is neither an image manifest nor an index"));
    }
  }

  ImageGraph take() { return std::move(graph_); }

 private:
  /// False when the blob was met before.
  bool add(const Descriptor& blob, std::string_view what) {
    if (!seen_.insert(blob.digest).second) return false;
    const auto size = blobs_.find_blob(blob.digest);
    if (!size) throw IntegrityError(cat("the ", what, " ", blob.digest.str(), " is missing"));
    if (*size != blob.size) {
      throw IntegrityError(cat("the ", what, " ", blob.digest.str(), " has ", *size,
                               " bytes, its descriptor says ", blob.size));
    }
    graph_.blobs.push_back(blob);
    return true;
  }

  void visit_index(const Descriptor& target, int depth) {
    if (depth == kMaxIndexDepth) throw IntegrityError("image indexes are nested too deep");
    if (!add(target, "index")) return;
    const Index index =
        Index::parse(load_described(blobs_, target, kMaxManifestSize, "index"), target.media_type);
    std::size_t stored = 0;
    for (const auto& child : index.manifests) {
      if (children_ == Children::at_least_one && !blobs_.find_blob(child.digest)) continue;
      visit(child, depth + 1);
      ++stored;
    }
    if (stored == 0 && !index.manifests.empty()) {
      throw IntegrityError(cat("none of the manifests of the index ", target.digest.str(), " is there"));
    }
  }

  void visit_manifest(const Descriptor& target) {
    if (!add(target, "manifest")) return;
    if (graph_.manifests.size() == kMaxManifests)
      throw IntegrityError(cat("more than ", kMaxManifests, " manifests"));
    Manifest manifest =
        Manifest::parse(load_described(blobs_, target, kMaxManifestSize, "manifest"), target.media_type);
    add(manifest.config, "config");
    for (const auto& layer : manifest.layers) add(layer, "layer");
    graph_.manifests.push_back({target, std::move(manifest)});
  }

  const BlobStore& blobs_;
  Children children_;
  std::set<Digest> seen_;
  ImageGraph graph_;
};

}  // namespace

std::string load_described(const BlobStore& blobs, const Descriptor& descriptor, std::uint64_t limit,
                           std::string_view what) {
  if (descriptor.size > limit) {
    throw IntegrityError(cat("the ", what, " of ", human_size(descriptor.size), " is larger than the ",
                             human_size(limit), " allowed"));
  }
  std::string bytes = load_blob(blobs, descriptor.digest, limit);
  if (bytes.size() != descriptor.size) {
    throw IntegrityError(cat("the ", what, " ", descriptor.digest.str(), " has ", bytes.size(),
                             " bytes, its descriptor says ", descriptor.size));
  }
  return bytes;
}

ImageGraph reach(const BlobStore& blobs, const Descriptor& target, Children children) {
  Walk walk(blobs, children);
  walk.visit(target, 0);
  return walk.take();
}

}  // namespace imgbuild::oci
