#pragma once

namespace imgbuild::oci {

/// Loads libcurl. Throws UnsupportedError when it cannot be had. Called before the first transfer; a build
/// that needs no network never loads it.
void require_curl();

}  // namespace imgbuild::oci
