#include "builder/snapshotter.h"

#include <stdexcept>

namespace imgbuild::builder {

std::unique_ptr<WritableSnapshot> Snapshotter::prepare_on(const std::vector<oci::LayerBlob>&, Top) {
  throw std::logic_error("this snapshotter freezes nothing, so nothing can lie on it");
}

}  // namespace imgbuild::builder
