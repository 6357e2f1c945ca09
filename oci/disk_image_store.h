#pragma once

#include "base/store_dir.h"
#include "base/syncer.h"
#include "base/unique_fd.h"
#include "oci/image_store.h"

namespace imgbuild {
class UseLog;
}

namespace imgbuild::oci {

/// Names as small JSON files `tags/<SHA-256 of the reference>` below a store directory
/// (docs/formats/store.md).
class DiskImageStore final : public ImageStore {
 public:
  /// `uses` is told which names are found. With a `syncer` names are on the disk when they are given (STO-6).
  explicit DiskImageStore(const StoreDir& store, Syncer* syncer = nullptr, UseLog* uses = nullptr);
  std::optional<TaggedImage> find(const Reference& name) const override;
  void tag(const Reference& name, const Descriptor& target, const Timestamp& now,
           bool pulled = false) override;
  bool untag(const Reference& name) override;
  std::vector<TaggedImage> list() const override;

 private:
  std::optional<TaggedImage> read(const std::string& file) const;
  StoreDir store_;
  UniqueFd tags_;
  Syncer* syncer_;
  UseLog* uses_;
};

}  // namespace imgbuild::oci
