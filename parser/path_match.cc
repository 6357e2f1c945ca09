// Go's filepath.Match. Kept apart from the ignore rules, which only borrow its notion of a well-formed
// pattern.
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "parser/code_points.h"
#include "parser/ignore_file.h"
#include "parser/path_pattern.h"

namespace imgbuild::parser {

namespace {

struct Malformed {};

/// Reads a pattern element by element. Throws Malformed where the grammar is broken.
class PatternReader {
 public:
  explicit PatternReader(std::string_view pattern) : rest_(pattern) {}

  bool at_end() const { return rest_.empty(); }
  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  /// A character, possibly behind a backslash.
  char32_t literal() {
    if (take('\\') && rest_.empty()) throw Malformed();
    return next();
  }

  /// Behind `[`: does the class hold `value`? Always reads the whole class.
  bool class_holds(char32_t value) {
    const bool negated = take('^');
    bool found = false;
    for (int ranges = 0; ranges == 0 || !take(']'); ++ranges) {
      const char32_t low = class_member();
      const char32_t high = take('-') ? class_member() : low;
      found = found || (low <= value && value <= high);
    }
    return found != negated;
  }

  std::string_view rest() const { return rest_; }

 private:
  char32_t next() {
    const CodePoint point = decode_code_point(rest_);
    rest_.remove_prefix(point.length);
    return point.value;
  }
  char32_t class_member() {
    if (rest_.empty() || rest_.front() == '-' || rest_.front() == ']') throw Malformed();
    const char32_t value = literal();
    if (rest_.empty()) throw Malformed();  // the bracket has to close
    return value;
  }

  std::string_view rest_;
};

/// Matches one element other than a star at the start of `path`; nothing if it does not match, otherwise the
/// length.
std::optional<std::size_t> match_element(PatternReader& pattern, std::string_view path) {
  const CodePoint point = path.empty() ? CodePoint{kIllFormedBase * 2, 0} : decode_code_point(path);
  bool matches = false;
  if (pattern.take('?')) {
    matches = point.value != '/';
  } else if (pattern.take('[')) {
    matches = pattern.class_holds(point.value);  // a slash too, if the class says so
  } else {
    matches = pattern.literal() == point.value;
  }
  if (path.empty() || !matches) return std::nullopt;
  return point.length;
}

}  // namespace

bool is_well_formed_pattern(std::string_view pattern) {
  try {
    for (PatternReader reader(pattern); !reader.at_end();) {
      if (!reader.take('*')) match_element(reader, {});
    }
    return true;
  } catch (const Malformed&) {
    return false;
  }
}

bool match_path(std::string_view pattern, std::string_view path) {
  if (!is_well_formed_pattern(pattern)) {
    throw SyntaxError(cat("syntax error in pattern \"", printable(pattern), "\""));
  }
  // Only the last star is ever retried, one character further each time: what the stars before it took can
  // stay.
  std::string_view star_pattern;
  std::string_view star_path;
  bool has_star = false;
  for (;;) {
    PatternReader reader(pattern);
    if (reader.take('*')) {
      has_star = true;
      star_pattern = pattern = reader.rest();
      star_path = path;
      continue;
    }
    if (pattern.empty() && path.empty()) return true;
    if (!pattern.empty()) {
      if (const auto length = match_element(reader, path)) {
        pattern = reader.rest();
        path.remove_prefix(*length);
        continue;
      }
    }
    if (!has_star || star_path.empty() || star_path.front() == '/') return false;
    star_path.remove_prefix(decode_code_point(star_path).length);
    pattern = star_pattern;
    path = star_path;
  }
}

}  // namespace imgbuild::parser
