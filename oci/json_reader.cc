#include "oci/json_reader.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::oci {

namespace {

constexpr std::size_t kMaxNesting = 64;

const char* name_of(JsonValue::Kind kind) {
  using Kind = JsonValue::Kind;
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return "a boolean";
    case Kind::integer:
      return "an integer";
    case Kind::real:
      return "a number with a fraction";
    case Kind::string:
      return "a string";
    case Kind::array:
      return "an array";
    case Kind::object:
      return "an object";
  }
  return "";
}

[[noreturn]] void wrong_kind(JsonValue::Kind wanted, JsonValue::Kind found) {
  throw IntegrityError(cat("JSON: ", name_of(wanted), " is needed where there is ", name_of(found)));
}

}  // namespace

/// Receives the parser's events, so that nothing is built before it was checked.
class JsonBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit JsonBuilder(std::string_view what) : what_(what) {}
  JsonValue take() { return std::move(root_); }

  bool null() override { return add(JsonValue::Kind::null) != nullptr; }
  bool boolean(bool value) override {
    add(JsonValue::Kind::boolean)->boolean_ = value;
    return true;
  }
  bool number_integer(number_integer_t value) override {
    add(JsonValue::Kind::integer)->integer_ = value;
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max()))
      fail("a number is too large");
    add(JsonValue::Kind::integer)->integer_ = static_cast<std::int64_t>(value);
    return true;
  }
  bool number_float(number_float_t, const string_t& text) override {
    add(JsonValue::Kind::real)->string_ = text;
    return true;
  }
  bool string(string_t& value) override {
    add(JsonValue::Kind::string)->string_ = std::move(value);
    return true;
  }
  bool binary(binary_t&) override { fail("binary data"); }
  bool start_object(std::size_t) override { return descend(JsonValue::Kind::object); }
  bool start_array(std::size_t) override { return descend(JsonValue::Kind::array); }
  bool end_object() override { return ascend(); }
  bool end_array() override { return ascend(); }
  bool key(string_t& name) override {
    if (open_.back()->object_.contains(name)) fail(cat("the key \"", printable(name), "\" appears twice"));
    key_ = std::move(name);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    fail(cat("not valid JSON at byte ", position));
  }

 private:
  [[noreturn]] void fail(std::string_view why) const { throw IntegrityError(cat(what_, ": ", why)); }

  JsonValue* add(JsonValue::Kind kind) {
    JsonValue* slot = &root_;
    if (!open_.empty() && open_.back()->kind_ == JsonValue::Kind::array) {
      slot = &open_.back()->array_.emplace_back();
    } else if (!open_.empty()) {
      slot = &open_.back()->object_[key_];
    }
    slot->kind_ = kind;
    return slot;
  }

  bool descend(JsonValue::Kind kind) {
    if (open_.size() >= kMaxNesting) fail(cat("nested more than ", kMaxNesting, " levels"));
    open_.push_back(add(kind));
    return true;
  }

  bool ascend() {
    open_.pop_back();
    return true;
  }

  std::string what_;
  JsonValue root_;
  std::vector<JsonValue*> open_;  // only the innermost container grows, so these stay valid
  std::string key_;
};

JsonValue JsonValue::parse(std::string_view text, std::string_view what) {
  JsonBuilder builder(what);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

bool JsonValue::as_bool() const {
  if (kind_ != Kind::boolean) wrong_kind(Kind::boolean, kind_);
  return boolean_;
}

std::int64_t JsonValue::as_integer() const {
  if (kind_ != Kind::integer) wrong_kind(Kind::integer, kind_);
  return integer_;
}

const std::string& JsonValue::as_string() const {
  if (kind_ != Kind::string) wrong_kind(Kind::string, kind_);
  return string_;
}

const std::vector<JsonValue>& JsonValue::as_array() const {
  if (kind_ != Kind::array) wrong_kind(Kind::array, kind_);
  return array_;
}

const std::map<std::string, JsonValue>& JsonValue::as_object() const {
  if (kind_ != Kind::object) wrong_kind(Kind::object, kind_);
  return object_;
}

const JsonValue* JsonValue::find(const std::string& name) const {
  const auto& members = as_object();
  const auto found = members.find(name);
  return found == members.end() || found->second.is_null() ? nullptr : &found->second;
}

std::string JsonValue::string_or_empty(const std::string& name) const {
  const JsonValue* value = find(name);
  return value == nullptr ? std::string() : value->as_string();
}

std::int64_t JsonValue::integer_or(const std::string& name, std::int64_t otherwise) const {
  const JsonValue* value = find(name);
  return value == nullptr ? otherwise : value->as_integer();
}

std::vector<std::string> JsonValue::strings(const std::string& name) const {
  std::vector<std::string> out;
  if (const JsonValue* value = find(name)) {
    for (const auto& item : value->as_array()) out.push_back(item.as_string());
  }
  return out;
}

std::map<std::string, std::string> JsonValue::string_map(const std::string& name) const {
  std::map<std::string, std::string> out;
  if (const JsonValue* value = find(name)) {
    for (const auto& [key, item] : value->as_object()) out[key] = item.is_null() ? "" : item.as_string();
  }
  return out;
}

}  // namespace imgbuild::oci
