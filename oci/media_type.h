#pragma once

#include <string_view>

namespace imgbuild::oci {

/// Media types of oci-and-registry.md 1.2.
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kOciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kOciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kDockerList = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar";
inline constexpr std::string_view kDockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";

bool is_index_type(std::string_view media_type) noexcept;
bool is_manifest_type(std::string_view media_type) noexcept;
/// True for the schema 1 types, which are refused with a text of their own (IMG-12).
bool is_schema1_type(std::string_view media_type) noexcept;
/// The OCI type for a Docker layer type and the other way round is not needed: base layers keep their bytes,
/// and an OCI manifest names them by the OCI type of the same compression. Unknown types are returned as they
/// are.
std::string_view oci_layer_type(std::string_view media_type) noexcept;

}  // namespace imgbuild::oci
