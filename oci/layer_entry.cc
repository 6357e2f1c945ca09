#include "oci/layer_entry.h"

#include "base/hash.h"
#include "base/strings.h"

namespace imgbuild::oci {

ChainId chain(const std::optional<ChainId>& parent, const DiffId& layer) {
  if (!parent) return ChainId{layer.value};
  return ChainId{sha256(cat(parent->value.str(), " ", layer.value.str()))};
}

}  // namespace imgbuild::oci
