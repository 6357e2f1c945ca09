#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/timestamp.h"
#include "oci/descriptor.h"
#include "oci/reference.h"

namespace imgbuild::oci {

struct TaggedImage {
  Reference name;
  Descriptor target;  ///< manifest or index
  Timestamp updated;
  bool pulled = false;  ///< nobody gave this name: the image was pulled as a base
};

/// The names of the local store: reference -> manifest or index. Every change is one rename (STO-6). Readers
/// never see a name whose blobs are incomplete: the caller stores blobs first (EXP-22). Thread- and
/// process-safe.
class ImageStore {
 public:
  virtual ~ImageStore() = default;
  virtual std::optional<TaggedImage> find(const Reference& name) const = 0;
  /// A name somebody gave never becomes a `pulled` one, which may be removed to make room. Content, and
  /// `updated` as it was, when the name means `target` already.
  virtual void tag(const Reference& name, const Descriptor& target, const Timestamp& now,
                   bool pulled = false) = 0;
  virtual bool untag(const Reference& name) = 0;
  virtual std::vector<TaggedImage> list() const = 0;  ///< sorted by name
};

}  // namespace imgbuild::oci
