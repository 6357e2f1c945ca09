#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"

namespace imgbuild::cache {

/// One named input of a step.
struct KeyField {
  std::string label;  ///< "parent", "argv", "file app/main.c"
  std::string value;  ///< printable where the input is text, a digest where it is content
  bool operator==(const KeyField&) const = default;
};

/// What decides that a step need not run again: the digest of its labelled inputs. Keeps the inputs
/// themselves, so that a miss can be explained as a difference of fields.
class CacheKey {
 public:
  const Digest& digest() const noexcept { return digest_; }
  const std::vector<KeyField>& fields() const noexcept { return fields_; }
  bool operator==(const CacheKey& other) const noexcept { return digest_ == other.digest_; }

 private:
  friend class CacheKeyBuilder;
  CacheKey(Digest digest, std::vector<KeyField> fields) : digest_(digest), fields_(std::move(fields)) {}
  Digest digest_;
  std::vector<KeyField> fields_;
};

/// Collects fields in order. Fields are length-prefixed under a format version, so that neighbours cannot run
/// together and another version never matches.
class CacheKeyBuilder {
 public:
  explicit CacheKeyBuilder(std::string_view format);
  CacheKeyBuilder& add(std::string_view label, std::string_view value);
  CacheKey finish();

 private:
  std::string format_;
  std::vector<KeyField> fields_;
};

}  // namespace imgbuild::cache
