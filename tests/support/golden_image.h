#pragma once

#include <string>

#include "oci/blob_store.h"
#include "oci/image.h"
#include "oci/media_type.h"

/// The image of oci-and-registry.md, appendix A: two metadata lines on an empty layer.
namespace imgbuild::tests {

inline std::string golden_layer_bytes() {
  static constexpr unsigned char kBytes[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x62,
                                             0x18, 0x05, 0xa3, 0x60, 0x14, 0x8c, 0x58, 0x00, 0x08, 0x00, 0x00,
                                             0xff, 0xff, 0x2e, 0xaf, 0xb5, 0xef, 0x00, 0x04, 0x00, 0x00};
  return {reinterpret_cast<const char*>(kBytes), sizeof kBytes};
}

inline oci::ImageConfig golden_config() {
  const Timestamp time{1700000000, 0};
  oci::ImageConfig config;
  config.platform = oci::Platform::parse("linux/amd64");
  config.config.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  config.config.cmd = {{"echo", "a<b>&é"}};
  config.config.working_dir = "/";
  config.config.labels = {{"a", "1"}, {"b", "tab\there"}};
  config.created = time;
  config.history = {{time, "LABEL a=1 b=tab\there", "", "imgbuild.dockerfile.v1", true},
                    {time, "CMD [\"echo\" \"a<b>&é\"]", "", "imgbuild.dockerfile.v1", true},
                    {time, "", "", "imgbuild.empty", false}};
  config.diff_ids = {
      {Digest::parse("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")}};
  return config;
}

inline oci::LayerBlob golden_layer(oci::BlobStore& blobs) {
  const std::string bytes = golden_layer_bytes();
  return {{.media_type = std::string(oci::kOciLayerGzip),
           .digest = oci::put_blob(blobs, bytes),
           .size = bytes.size(),
           .urls = {},
           .annotations = {},
           .platform = std::nullopt,
           .artifact_type = {}},
          golden_config().diff_ids[0]};
}

inline oci::Image golden_image(oci::BlobStore& blobs) {
  return oci::write_image(blobs, golden_config(), {golden_layer(blobs)});
}

}  // namespace imgbuild::tests
