#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::oci {

/// Writes JSON whose bytes depend on nothing but the calls: keys in the order given, the escapes of IMG-24,
/// integers only, compact or indented by two spaces (IMG-16).
class JsonWriter {
 public:
  explicit JsonWriter(bool pretty) : pretty_(pretty) {}

  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);
  JsonWriter& string(std::string_view text);
  JsonWriter& number(std::int64_t value);
  JsonWriter& boolean(bool value);

  /// `"key": "text"`, only when `text` is not empty.
  JsonWriter& member(std::string_view name, std::string_view text);
  JsonWriter& member(std::string_view name, const std::vector<std::string>& list);
  JsonWriter& member(std::string_view name, const std::map<std::string, std::string>& map);

  std::string take() { return std::move(out_); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void before_value();
  void new_line();

  bool pretty_;
  std::string out_;
  std::vector<bool> empty_;  // of each open object or array: nothing in it yet
  bool after_key_ = false;
};

}  // namespace imgbuild::oci
