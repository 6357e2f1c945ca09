#include "parser/key_values.h"

#include <utility>

#include "parser/code_points.h"

namespace imgbuild::parser {

std::vector<std::string> split_quoted_words(std::string_view text, char escape) {
  std::vector<std::string> words;
  std::string word;
  char quote = '\0';
  while (!text.empty()) {
    const CodePoint point = decode_code_point(text);
    const char c = text.front();
    std::size_t length = point.length;
    if (quote == '\0' && is_space(point.value)) {
      if (!word.empty()) words.push_back(std::exchange(word, {}));
      text.remove_prefix(length);
      continue;
    }
    if (c == escape && quote != '\'') {
      if (text.size() == 1) break;  // nothing left to escape
      length += decode_code_point(text.substr(1)).length;
    } else if (quote == '\0' && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == quote) {
      quote = '\0';
    }
    word += text.substr(0, length);
    text.remove_prefix(length);
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

}  // namespace imgbuild::parser
