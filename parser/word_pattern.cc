#include "parser/word_pattern.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "parser/code_points.h"

namespace imgbuild::parser {

namespace {

constexpr char32_t kAnyCharacter = 0xFFFFFFFF;  // no character decodes to it
constexpr std::uint64_t kMaxSteps = 1u << 28;
constexpr std::size_t kMaxOutputBytes = 1u << 20;  // NET-26: one word

struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

void append_limited(std::string& out, std::string_view text) {
  if (out.size() + text.size() > kMaxOutputBytes) throw SyntaxError("the expanded word is longer than 1 MiB");
  out += text;
}

bool is_name_character(char32_t value) { return is_letter(value) || is_digit(value) || value == '_'; }

/// Length of the group reference at the start of `text` (a `$` and what belongs to it), 0 if it is a plain
/// `$`. `name` becomes the group's name.
std::size_t group_reference(std::string_view text, std::string_view& name) {
  const bool braced = text.size() > 1 && text[1] == '{';
  const std::size_t start = braced ? 2 : 1;
  std::size_t end = start;
  while (end < text.size()) {
    const CodePoint point = decode_code_point(text.substr(end));
    if (!is_name_character(point.value)) break;
    end += point.length;
  }
  if (end == start) return 0;
  name = text.substr(start, end - start);
  if (!braced) return end;
  return end < text.size() && text[end] == '}' ? end + 1 : 0;
}

void append_template(std::string& out, std::string_view replacement, std::string_view match) {
  while (!replacement.empty()) {
    const auto dollar = replacement.find('$');
    append_limited(out, replacement.substr(0, dollar));
    if (dollar == std::string_view::npos) return;
    replacement.remove_prefix(dollar);
    if (replacement.starts_with("$$")) {
      append_limited(out, "$");
      replacement.remove_prefix(2);
      continue;
    }
    std::string_view name;
    const std::size_t length = group_reference(replacement, name);
    if (length == 0) append_limited(out, "$");
    if (name == "0" && length > 0) append_limited(out, match);
    replacement.remove_prefix(std::max<std::size_t>(1, length));
  }
}

}  // namespace

/// Finds the segments in one text. The chain of earliest matches decides whether there is a match at all,
/// because whatever can follow a later occurrence of a segment can follow an earlier one too; so nothing is
/// ever retried.
class WordPattern::Matcher {
 public:
  Matcher(const Segments& segments, std::u32string_view text, std::uint64_t& steps)
      : segments_(segments), text_(text), steps_(steps) {}

  std::optional<std::size_t> prefix_end(bool longest) { return tail_end(0, longest); }

  /// The leftmost match at or after `from`, as long as possible.
  std::optional<Span> find(std::size_t from) {
    const auto start = find_segment(segments_[0], from);
    if (!start) return std::nullopt;
    const auto end = tail_end(*start, true);
    if (!end) return std::nullopt;
    return Span{*start, *end};
  }

 private:
  /// Where a match that starts at `start` ends.
  std::optional<std::size_t> tail_end(std::size_t start, bool longest) {
    if (!matches_at(segments_[0], start)) return std::nullopt;
    std::size_t at = start + segments_[0].size();
    for (std::size_t i = 1; i < segments_.size(); ++i) {
      const bool last = i + 1 == segments_.size();
      const auto found =
          last && longest ? find_segment_backwards(segments_[i], at) : find_segment(segments_[i], at);
      if (!found) return std::nullopt;
      at = *found + segments_[i].size();
    }
    return at;
  }

  bool matches_at(const Segment& segment, std::size_t at) {
    if (text_.size() - at < segment.size()) return false;
    for (std::size_t i = 0; i < segment.size(); ++i) {
      if (++steps_ > kMaxSteps) throw SyntaxError("the pattern takes too long to match");
      if (segment[i] != kAnyCharacter && segment[i] != text_[at + i]) return false;
    }
    return true;
  }

  std::optional<std::size_t> find_segment(const Segment& segment, std::size_t from) {
    for (std::size_t at = from; at + segment.size() <= text_.size(); ++at) {
      if (matches_at(segment, at)) return at;
    }
    return std::nullopt;
  }

  std::optional<std::size_t> find_segment_backwards(const Segment& segment, std::size_t from) {
    if (text_.size() < segment.size()) return std::nullopt;
    for (std::size_t at = text_.size() - segment.size() + 1; at-- > from;) {
      if (matches_at(segment, at)) return at;
    }
    return std::nullopt;
  }

  const Segments& segments_;
  std::u32string_view text_;
  std::uint64_t& steps_;
};

WordPattern::WordPattern(std::string_view pattern) : segments_(1) {
  const std::u32string characters = decode_text(pattern);
  for (std::size_t i = 0; i < characters.size(); ++i) {
    char32_t value = characters[i];
    if (value == '*') {
      segments_.emplace_back();
      continue;
    }
    if (value == '?') {
      value = kAnyCharacter;
    } else if (value == '\\') {
      value = ++i < characters.size() ? characters[i] : U'\0';
      if (value == 0 || std::u32string_view(U"*?\\}/").find(value) == std::u32string_view::npos) {
        throw SyntaxError(cat("invalid pattern (", pattern, ") in substitution: invalid escape '\\",
                              value == 0 ? std::string() : encode_text({&value, 1}), "'"));
      }
    }
    segments_.back() += value;
  }
}

std::string WordPattern::without_prefix(std::string_view value, bool longest) const {
  const std::u32string text = decode_text(value);
  const auto end = Matcher(segments_, text, steps_).prefix_end(longest);
  return end ? encode_text(std::u32string_view(text).substr(*end)) : std::string(value);
}

std::string WordPattern::without_suffix(std::string_view value, bool longest) const {
  // Removing a suffix is removing a prefix with everything turned round.
  Segments reversed(segments_.rbegin(), segments_.rend());
  for (auto& segment : reversed) std::reverse(segment.begin(), segment.end());
  std::u32string text = decode_text(value);
  std::reverse(text.begin(), text.end());
  const auto end = Matcher(reversed, text, steps_).prefix_end(longest);
  if (!end) return std::string(value);
  text.erase(0, *end);
  std::reverse(text.begin(), text.end());
  return encode_text(text);
}

std::string WordPattern::replace_first(std::string_view value, std::string_view replacement) const {
  const std::u32string text = decode_text(value);
  const auto match = Matcher(segments_, text, steps_).find(0);
  if (!match) return std::string(value);
  const std::u32string_view all = text;
  std::string out = encode_text(all.substr(0, match->begin));
  append_limited(out, replacement);
  append_limited(out, encode_text(all.substr(match->end)));
  return out;
}

std::string WordPattern::replace_all(std::string_view value, std::string_view replacement) const {
  const std::u32string text = decode_text(value);
  const std::u32string_view all = text;
  Matcher matcher(segments_, all, steps_);
  std::string out;
  std::size_t copied = 0;  // everything before this is in `out`
  std::optional<std::size_t> previous_end;
  for (std::size_t from = 0; from <= all.size();) {
    const auto match = matcher.find(from);
    if (!match) break;
    append_limited(out, encode_text(all.substr(copied, match->begin - copied)));
    copied = match->end;
    const bool empty = match->begin == match->end;
    // An empty match right behind the last match does not count.
    if (!empty || previous_end != match->begin) {
      append_template(out, replacement, encode_text(all.substr(match->begin, match->end - match->begin)));
    }
    previous_end = match->end;
    from = empty ? match->end + 1 : match->end;
    if (empty && match->end < all.size()) {
      append_limited(out, encode_text(all.substr(copied, 1)));
      copied = match->end + 1;
    }
  }
  append_limited(out, encode_text(all.substr(std::min(copied, all.size()))));
  return out;
}

}  // namespace imgbuild::parser
