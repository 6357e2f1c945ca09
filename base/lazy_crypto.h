#pragma once

namespace imgbuild {

/// Loads OpenSSL's libcrypto, whose functions are defined in lazy_crypto.cc as calls of the real ones
/// (docs/adr/0006). To be called before the first of them. Throws UnsupportedError when it cannot be had.
void require_crypto_library();

}  // namespace imgbuild
