#include "parser/url_query.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::parser {

std::string percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const std::string_view digits = text.substr(i + 1, 2);
    unsigned value = 0;
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value, 16);
    if (digits.size() != 2 || error != std::errc() || stop != end) {
      throw SyntaxError(cat("invalid URL escape \"", printable(text.substr(i, 3)), "\""));
    }
    out += static_cast<char>(static_cast<unsigned char>(value));
    i += 2;
  }
  return out;
}

std::map<std::string, std::vector<std::string>> parse_query(std::string_view query) {
  const auto decode = [](std::string_view text) {
    std::string plain(text);
    std::replace(plain.begin(), plain.end(), '+', ' ');
    return percent_decode(plain);
  };
  std::map<std::string, std::vector<std::string>> out;
  for (const std::string_view pair : split(query, '&')) {
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    out[decode(pair.substr(0, equals))].push_back(decode(value));
  }
  return out;
}

}  // namespace imgbuild::parser
