#pragma once

#include <optional>

#include "base/stream.h"

namespace imgbuild {

/// A source that may know the digest of all it gives, so that nobody has to hash it once more.
class DigestingSource : public Source {
 public:
  /// SHA-256 of all bytes, once the last of them was read; nothing when it is not known.
  virtual std::optional<Digest> digest() const = 0;
  /// To be called before the first read: true says that the source would have to hash and leaves that to the
  /// caller, who can do it beside other work, and calls set_digest() after the last byte.
  virtual bool leave_hashing() { return false; }
  virtual void set_digest(const Digest&) {}
};

/// The digest `source` has for itself, if it is one that has.
inline std::optional<Digest> digest_of(const Source& source) {
  const auto* const digesting = dynamic_cast<const DigestingSource*>(&source);
  return digesting == nullptr ? std::nullopt : digesting->digest();
}

}  // namespace imgbuild
