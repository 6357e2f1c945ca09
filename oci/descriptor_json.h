#pragma once

#include "oci/descriptor.h"
#include "oci/json_reader.h"
#include "oci/json_writer.h"

namespace imgbuild::oci {

/// The JSON form of a descriptor (IMG-4) and of a platform (IMG-15).
void write_descriptor(JsonWriter& json, const Descriptor& descriptor);
/// Throws IntegrityError for a missing or malformed digest, size or media type (NET-1).
Descriptor read_descriptor(const JsonValue& json);
void write_platform(JsonWriter& json, const Platform& platform);
Platform read_platform(const JsonValue& json);

}  // namespace imgbuild::oci
