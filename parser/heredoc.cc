#include "parser/heredoc.h"

#include "parser/code_points.h"

namespace imgbuild::parser {

namespace {

constexpr int kMaxNesting = 32;  // NET-26

/// Walks over one line as the shell would, only to learn where words begin and end.
class WordScanner {
 public:
  explicit WordScanner(std::string_view line) : line_(line) {}

  /// The next word with its quotes and escapes; nothing at the end of the line or when `broken()`.
  std::optional<std::string_view> next() {
    while (at_ < line_.size() && blank_length() > 0) at_ += blank_length();
    if (at_ >= line_.size()) return std::nullopt;
    const std::size_t start = at_;
    while (at_ < line_.size() && blank_length() == 0) {
      step();
      if (broken_) return std::nullopt;
    }
    return line_.substr(start, at_ - start);
  }
  bool broken() const { return broken_; }

 private:
  /// Length of the blank at the current place, 0 if there is none.
  std::size_t blank_length() const {
    const CodePoint point = decode_code_point(line_.substr(at_));
    return is_space(point.value) ? point.length : 0;
  }

  /// Over one character or one construct of an unquoted word.
  void step() {
    switch (line_[at_]) {
      case '\\':
        skip_escape();
        return;
      case '\'':
        skip_single_quotes();
        return;
      case '"':
        skip_double_quotes();
        return;
      case '$':
        skip_dollar();
        return;
      case '<':
        skip_redirection();
        return;
      default:
        ++at_;
    }
  }

  void skip_escape() {
    ++at_;
    if (at_ < line_.size()) at_ += decode_code_point(line_.substr(at_)).length;
  }

  void skip_single_quotes() {
    const auto end = line_.find('\'', at_ + 1);
    if (end == std::string_view::npos) return fail();
    at_ = end + 1;
  }

  void skip_double_quotes() {
    for (++at_; at_ < line_.size() && !broken_;) {
      switch (line_[at_]) {
        case '"':
          ++at_;
          return;
        case '\\':
          skip_escape();
          break;
        case '$':
          skip_dollar();
          break;
        default:
          ++at_;
      }
    }
    fail();
  }

  /// `${…}` may hold quotes of its own.
  void skip_dollar() {
    ++at_;
    if (at_ >= line_.size() || line_[at_] != '{') return;
    if (++depth_ > kMaxNesting) return fail();
    for (++at_; at_ < line_.size() && !broken_;) {
      if (line_[at_] == '}') {
        ++at_;
        --depth_;
        return;
      }
      if (line_[at_] == '<') {
        ++at_;
      } else {
        step();
      }
    }
    fail();
  }

  /// Blanks between `<<` and its word belong to the word (HDC-3), unless a `-` or a third `<` stands between.
  void skip_redirection() {
    const std::size_t start = at_;
    while (at_ < line_.size() && line_[at_] == '<') ++at_;
    if (at_ - start != 2) return;
    while (at_ < line_.size() && blank_length() > 0) at_ += blank_length();
  }

  void fail() { broken_ = true; }

  std::string_view line_;
  std::size_t at_ = 0;
  int depth_ = 0;
  bool broken_ = false;
};

struct Unquoted {
  std::string text;
  bool had_quotes = false;
};

/// Removes quotes and escapes; nothing if they are unbalanced. `$` has no meaning in a delimiter.
std::optional<Unquoted> remove_quotes(std::string_view word) {
  Unquoted out;
  char quote = '\0';
  for (std::size_t i = 0; i < word.size(); ++i) {
    const char c = word[i];
    if (quote == '\0' && (c == '\'' || c == '"')) {
      quote = c;
      out.had_quotes = true;
    } else if (c == quote && quote != '\0') {
      quote = '\0';
    } else if (c == '\\' && quote != '\'') {
      const bool last = i + 1 == word.size();
      const bool removes =
          quote == '\0' || (!last && std::string_view("\"$\\").find(word[i + 1]) != std::string_view::npos);
      if (!removes) out.text += c;
      if (!last) out.text += word[++i];
    } else {
      out.text += c;
    }
  }
  if (quote != '\0') return std::nullopt;
  return out;
}

}  // namespace

std::string Heredoc::stripped() const {
  if (!chomp) return data;
  std::string out;
  out.reserve(data.size());
  bool line_start = true;
  for (const char c : data) {
    if (line_start && c == '\t') continue;
    line_start = c == '\n';
    out += c;
  }
  return out;
}

std::optional<Heredoc> parse_heredoc_marker(std::string_view word) {
  const auto digits = word.find_first_not_of("0123456789");
  if (digits == std::string_view::npos) return std::nullopt;
  word.remove_prefix(digits);  // a file descriptor, for the shell to read (HDC-12)
  if (!word.starts_with("<<")) return std::nullopt;
  word.remove_prefix(2);
  Heredoc heredoc;
  if (word.starts_with("-")) {
    heredoc.chomp = true;
    word.remove_prefix(1);
  }
  word = trim_left_blanks(word);
  if (word.empty() || word.find('<') != std::string_view::npos) return std::nullopt;
  auto name = remove_quotes(word);
  if (!name || name->text.empty()) return std::nullopt;
  heredoc.name = std::move(name->text);
  heredoc.expand = !name->had_quotes;
  return heredoc;
}

std::vector<Heredoc> find_heredoc_markers(std::string_view line) {
  std::vector<Heredoc> found;
  if (line.find("<<") == std::string_view::npos) return found;
  WordScanner scanner(line);
  while (const auto word = scanner.next()) {
    if (auto heredoc = parse_heredoc_marker(*word)) found.push_back(std::move(*heredoc));
  }
  if (scanner.broken()) found.clear();
  return found;
}

}  // namespace imgbuild::parser
