#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::oci {

/// A JSON value read strictly (NET-3): no duplicate keys, no trailing data, valid UTF-8, at most 64 levels,
/// integers of 64 bits only (a number with fraction or exponent is kept, but asking for it as an integer
/// throws).
class JsonValue {
 public:
  enum class Kind { null, boolean, integer, real, string, array, object };

  /// Throws IntegrityError naming `what` ("manifest").
  static JsonValue parse(std::string_view text, std::string_view what);

  Kind kind() const noexcept { return kind_; }
  bool is_null() const noexcept { return kind_ == Kind::null; }

  /// The accessors throw IntegrityError when the value is of another kind.
  bool as_bool() const;
  std::int64_t as_integer() const;
  const std::string& as_string() const;
  const std::vector<JsonValue>& as_array() const;
  const std::map<std::string, JsonValue>& as_object() const;

  /// The member of an object; nullptr when it is absent or null.
  const JsonValue* find(const std::string& name) const;
  /// Members with a default for "absent".
  std::string string_or_empty(const std::string& name) const;
  std::int64_t integer_or(const std::string& name, std::int64_t otherwise) const;
  std::vector<std::string> strings(const std::string& name) const;
  std::map<std::string, std::string> string_map(const std::string& name) const;

 private:
  friend class JsonBuilder;
  Kind kind_ = Kind::null;
  bool boolean_ = false;
  std::int64_t integer_ = 0;
  std::string string_;
  std::vector<JsonValue> array_;
  std::map<std::string, JsonValue> object_;
};

}  // namespace imgbuild::oci
