#pragma once

#include <string>

#include "builder/build.h"

namespace imgbuild::cli {

/// Reads the file of --ca-bundle and the machine's own certificates beside it. `ca_file`: what stands for the
/// machine's (SSL_CERT_FILE), may be empty. Throws Error (usage) unless the file holds certificates and no
/// private key.
builder::CaBundle read_ca_bundle(const std::string& path, const std::string& ca_file);

}  // namespace imgbuild::cli
