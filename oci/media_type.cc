#include "oci/media_type.h"

namespace imgbuild::oci {

bool is_index_type(std::string_view media_type) noexcept {
  return media_type == kOciIndex || media_type == kDockerList;
}

bool is_manifest_type(std::string_view media_type) noexcept {
  return media_type == kOciManifest || media_type == kDockerManifest;
}

bool is_schema1_type(std::string_view media_type) noexcept {
  return media_type.starts_with("application/vnd.docker.distribution.manifest.v1");
}

std::string_view oci_layer_type(std::string_view media_type) noexcept {
  if (media_type == kDockerLayer) return kOciLayer;
  if (media_type == kDockerLayerGzip) return kOciLayerGzip;
  if (media_type == "application/vnd.docker.image.rootfs.diff.tar.zstd") return kOciLayerZstd;
  return media_type;
}

}  // namespace imgbuild::oci
