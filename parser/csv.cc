#include "parser/csv.h"

#include "base/error.h"

namespace imgbuild::parser {

namespace {

/// Reads a field that starts with a quote; `text` is left behind the closing one.
std::string take_quoted(std::string_view& text) {
  std::string field;
  text.remove_prefix(1);
  for (;;) {
    const auto quote = text.find('"');
    if (quote == std::string_view::npos)
      throw SyntaxError("parse error: extraneous or missing \" in quoted-field");
    field += text.substr(0, quote);
    text.remove_prefix(quote + 1);
    if (!text.starts_with('"')) return field;
    field += '"';  // doubled inside quotes
    text.remove_prefix(1);
  }
}

}  // namespace

std::vector<std::string> read_csv_record(std::string_view text) {
  if (text.empty()) throw SyntaxError("EOF: there is no field");
  std::vector<std::string> fields;
  for (;;) {
    if (text.starts_with('"')) {
      fields.push_back(take_quoted(text));
      if (!text.empty() && text.front() != ',') {
        throw SyntaxError("parse error: extraneous or missing \" in quoted-field");
      }
    } else {
      const std::string_view field = text.substr(0, text.find(','));
      if (field.find('"') != std::string_view::npos)
        throw SyntaxError("parse error: bare \" in non-quoted-field");
      fields.emplace_back(field);
      text.remove_prefix(field.size());
    }
    if (text.empty()) return fields;
    text.remove_prefix(1);  // the comma
  }
}

}  // namespace imgbuild::parser
