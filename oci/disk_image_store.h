#pragma once

#include "base/unique_fd.h"
#include "oci/image_store.h"

namespace imgbuild::oci {

/// Names as small JSON files `tags/<SHA-256 of the reference>` below a store directory
/// (docs/formats/store.md).
class DiskImageStore final : public ImageStore {
 public:
  explicit DiskImageStore(int store_root);
  std::optional<TaggedImage> find(const Reference& name) const override;
  void tag(const Reference& name, const Descriptor& target, const Timestamp& now) override;
  bool untag(const Reference& name) override;
  std::vector<TaggedImage> list() const override;

 private:
  std::optional<TaggedImage> read(const std::string& file) const;
  UniqueFd tags_;
};

}  // namespace imgbuild::oci
