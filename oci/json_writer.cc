#include "oci/json_writer.h"

#include "base/strings.h"

namespace imgbuild::oci {

namespace {

/// Length of the well-formed UTF-8 sequence at `at`, 0 if it is ill-formed.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const std::size_t left = text.size() - at;
  const auto tail = [&](std::size_t count) {
    for (std::size_t i = 1; i <= count; ++i) {
      if (i >= left || (byte(i) & 0xC0) != 0x80) return false;
    }
    return true;
  };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!tail(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    return first == 0xED && byte(1) > 0x9F ? 0 : 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!tail(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    return first == 0xF4 && byte(1) > 0x8F ? 0 : 4;
  }
  return 0;
}

void append_ascii(std::string& out, char c) {
  static constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\r':
      out += "\\r";
      return;
    default:
      break;
  }
  const auto byte = static_cast<unsigned char>(c);
  if (byte < 0x20 || c == '<' || c == '>' || c == '&') {
    out += cat("\\u00", kHex[byte >> 4], kHex[byte & 15]);
  } else {
    out += c;
  }
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at);
    if (length == 0) {
      out += "\\ufffd";
      ++at;
      continue;
    }
    const std::string_view sequence = text.substr(at, length);
    if (length == 1)
      append_ascii(out, text[at]);
    else if (sequence == "\u2028")
      out += "\\u2028";
    else if (sequence == "\u2029")
      out += "\\u2029";
    else
      out += sequence;
    at += length;
  }
  out += '"';
}

}  // namespace

void JsonWriter::new_line() {
  if (!pretty_) return;
  out_ += '\n';
  out_.append(2 * empty_.size(), ' ');
}

void JsonWriter::before_value() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (empty_.empty()) return;
  if (!empty_.back()) out_ += ',';
  empty_.back() = false;
  new_line();
}

JsonWriter& JsonWriter::open(char bracket) {
  before_value();
  out_ += bracket;
  empty_.push_back(true);
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  const bool was_empty = empty_.back();
  empty_.pop_back();
  if (!was_empty) new_line();
  out_ += bracket;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  before_value();
  append_quoted(out_, name);
  out_ += pretty_ ? ": " : ":";
  after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::string(std::string_view text) {
  before_value();
  append_quoted(out_, text);
  return *this;
}

JsonWriter& JsonWriter::number(std::int64_t value) {
  before_value();
  out_ += cat(value);
  return *this;
}

JsonWriter& JsonWriter::boolean(bool value) {
  before_value();
  out_ += value ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::member(std::string_view name, std::string_view text) {
  return text.empty() ? *this : key(name).string(text);
}

JsonWriter& JsonWriter::member(std::string_view name, const std::vector<std::string>& list) {
  if (list.empty()) return *this;
  key(name).begin_array();
  for (const auto& text : list) string(text);
  return end_array();
}

JsonWriter& JsonWriter::member(std::string_view name, const std::map<std::string, std::string>& map) {
  if (map.empty()) return *this;
  key(name).begin_object();
  for (const auto& [entry, text] : map) key(entry).string(text);
  return end_object();
}

}  // namespace imgbuild::oci
