#include "parser/path_pattern.h"

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::parser {

namespace {

/// `pattern` as the regular expression that defines it (dockerfile.md 6.2), and whether it needs one at all.
struct Translation {
  std::string regex;
  bool has_wildcard = false;    // anything but literal text and `**` at the ends
  bool leading_stars = false;   // starts with `**`
  bool trailing_stars = false;  // ends with `**` after literal text
};

Translation translate(std::string_view pattern) {
  Translation out;
  for (std::size_t i = 0; i < pattern.size();) {
    const std::size_t start = i;
    const char c = pattern[i++];
    if (c == '*' && i < pattern.size() && pattern[i] == '*') {
      ++i;
      if (i < pattern.size() && pattern[i] == '/') ++i;  // swallowed (IGN-12)
      if (i < pattern.size()) {
        out.regex += "(.*/)?";
        out.has_wildcard = start != 0;
      } else if (start != 0) {
        out.regex += ".*";
        out.trailing_stars = !out.has_wildcard && !out.leading_stars;
        out.has_wildcard = !out.trailing_stars;
      }
      if (start == 0) out.leading_stars = true;
    } else if (c == '*' || c == '?') {
      out.regex += c == '*' ? "[^/]*" : "[^/]";
      out.has_wildcard = true;
    } else if (std::string_view(".+()|{}$").find(c) != std::string_view::npos) {
      out.regex += {'\\', c};
    } else if (c == '\\') {
      out.regex += c;
      if (i < pattern.size()) out.regex += pattern[i++];
      out.has_wildcard = true;
    } else {
      out.regex += c;
      out.has_wildcard = out.has_wildcard || c == '[' || c == ']';
    }
  }
  return out;
}

}  // namespace

PathPattern::PathPattern(const std::string& pattern) {
  if (!is_well_formed_pattern(pattern)) {
    throw SyntaxError(cat("syntax error in pattern \"", printable(pattern), "\""));
  }
  const Translation translation = translate(pattern);
  if (translation.has_wildcard) {
    kind_ = Kind::regex;
    regex_ = IgnoreRegex(translation.regex);
  } else if (translation.leading_stars) {
    kind_ = Kind::suffix;
    text_ = pattern.substr(2);
  } else if (translation.trailing_stars) {
    kind_ = Kind::prefix;
    text_ = pattern.substr(0, pattern.size() - 2);
  } else {
    text_ = pattern;
  }
}

bool PathPattern::matches(std::string_view path) const {
  switch (kind_) {
    case Kind::exact:
      return path == text_;
    case Kind::prefix:
      return path.starts_with(text_);
    case Kind::suffix:
      return path.ends_with(text_) || (text_.starts_with('/') && path == text_.substr(1));  // IGN-13
    case Kind::regex:
      return regex_.matches(path);
  }
  return false;
}

bool PathPattern::may_match_below(std::string_view directory) const {
  switch (kind_) {
    case Kind::exact:
      return text_.size() > directory.size() && text_.starts_with(directory) &&
             text_[directory.size()] == '/';
    case Kind::prefix: {
      const std::string inside = cat(directory, "/");
      return text_.starts_with(inside) || inside.starts_with(text_);
    }
    case Kind::suffix:
      return true;
    case Kind::regex:
      return regex_.may_match_after(cat(directory, "/"));
  }
  return true;
}

}  // namespace imgbuild::parser
