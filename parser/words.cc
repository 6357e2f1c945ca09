#include "parser/words.h"

#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "parser/code_points.h"
#include "parser/word_error.h"
#include "parser/word_pattern.h"

namespace imgbuild::parser {

namespace {

constexpr std::size_t kMaxWordBytes = 1u << 20;   // NET-26
constexpr std::size_t kMaxBodyBytes = 16u << 20;  // NET-26, of an instruction
constexpr std::uint64_t kMaxCost = 64u << 20;     // values looked at and never used count as well
constexpr int kMaxNesting = 32;                   // NET-26

constexpr bool is_special_parameter(char c) {
  return std::string_view("@*#?-$!0").find(c) != std::string_view::npos;
}

/// Collects what was expanded, whole and split at blanks (VAR-40).
class Output {
 public:
  explicit Output(bool split, std::size_t limit = kMaxWordBytes) : split_(split), limit_(limit) {}

  /// Text whose blanks separate words.
  void add(std::string_view text) {
    grow(text);
    if (!split_) return;
    while (!text.empty()) {
      const CodePoint point = decode_code_point(text);
      if (is_space(point.value)) {
        end_word();
      } else {
        word_ += text.substr(0, point.length);
      }
      text.remove_prefix(point.length);
    }
  }

  /// Text that came from quotes or behind an escape: its blanks belong to the word.
  void add_protected(std::string_view text) {
    grow(text);
    if (split_) word_ += text;
  }

  std::string take_text() { return std::move(text_); }
  std::vector<std::string> take_words() {
    end_word();
    return std::move(words_);
  }

 private:
  void grow(std::string_view text) {
    if (text_.size() + text.size() > limit_)
      throw SyntaxError(cat("the expanded word is longer than ", limit_ >> 20, " MiB"));
    text_ += text;
  }
  void end_word() {
    if (!word_.empty()) words_.push_back(std::exchange(word_, {}));
  }

  bool split_;
  std::size_t limit_;
  std::string text_;
  std::string word_;
  std::vector<std::string> words_;
};

/// The state machine of VAR-20…39 over one word.
class Expander {
 public:
  struct Mode {
    char escape = '\\';
    bool quotes = true;  // quotes mean something (not in heredoc bodies)
    bool split = false;
  };

  Expander(std::string_view word, const VariableLookup& lookup, Mode mode)
      : rest_(word), lookup_(lookup), mode_(mode) {}

  Output run() {
    Output out(mode_.split, mode_.quotes ? kMaxWordBytes : kMaxBodyBytes);
    cost_ = rest_.size();
    scan_until('\0', false, out);
    return out;
  }
  std::set<std::string> take_unset() { return std::move(unset_); }
  std::uint64_t cost() const { return cost_; }

 private:
  bool at_end() const { return rest_.empty(); }
  char peek() const { return rest_.front(); }

  /// Takes one character, however many bytes it has.
  std::string_view take() {
    const std::string_view taken = rest_.substr(0, decode_code_point(rest_).length);
    rest_.remove_prefix(taken.size());
    return taken;
  }

  /// Takes what has no meaning of its own, the current character at least.
  std::string_view take_plain(char stop) {
    const auto has_meaning = [&](char c) {
      return c == '$' || c == mode_.escape || (stop != '\0' && c == stop) ||
             (mode_.quotes && (c == '\'' || c == '"'));
    };
    std::size_t end = 1;
    while (end < rest_.size() && !has_meaning(rest_[end])) ++end;
    const std::string_view taken = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return taken;
  }

  /// Expands up to `stop` (consumed), or to the end if `stop` is NUL. With `keep_escapes` the escapes stay
  /// for the pattern stage (VAR-37).
  void scan_until(char stop, bool keep_escapes, Output& out) {
    const bool outer = std::exchange(keep_escapes_, keep_escapes);
    while (!at_end()) {
      const char c = peek();
      if (stop != '\0' && c == stop) {
        rest_.remove_prefix(1);
        keep_escapes_ = outer;
        return;
      }
      if (c == '$') {
        out.add(dollar());
      } else if (mode_.quotes && c == '\'') {
        out.add_protected(single_quoted());
      } else if (mode_.quotes && c == '"') {
        out.add_protected(double_quoted());
      } else if (c == mode_.escape) {
        escaped(out);
      } else {
        out.add(take_plain(stop));
      }
    }
    if (stop != '\0') throw SyntaxError(cat("unexpected end of statement while looking for matching ", stop));
    keep_escapes_ = outer;
  }

  void escaped(Output& out) {
    const std::string_view escape = take();
    if (keep_escapes_) out.add_protected(escape);
    if (!at_end()) out.add_protected(take());  // a lone escape at the end disappears (VAR-20)
  }

  std::string single_quoted() {
    const auto end = rest_.find('\'', 1);
    if (end == std::string_view::npos) {
      rest_ = {};
      throw SyntaxError("unexpected end of statement while looking for matching single-quote");
    }
    std::string text(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return text;
  }

  std::string double_quoted() {
    take();
    Output out(false);
    while (!at_end()) {
      const char c = peek();
      if (c == '"') {
        take();
        return out.take_text();
      }
      if (c == '$') {
        out.add(dollar());
        continue;
      }
      std::string_view text = c == mode_.escape ? take() : take_plain('"');
      if (c == mode_.escape) {
        if (keep_escapes_) out.add(text);
        if (at_end()) continue;
        if (peek() == '"' || peek() == '$' || peek() == mode_.escape) text = take();  // VAR-22
      }
      out.add(text);
    }
    throw SyntaxError("unexpected end of statement while looking for matching double-quote");
  }

  std::string dollar() {
    take();
    if (at_end() || peek() != '{') {
      const std::string name = take_name();
      return name.empty() ? "$" : std::string(value_of(name).value_or(""));
    }
    take();
    if (++depth_ > kMaxNesting) throw SyntaxError("variables are nested more than 32 deep");
    std::string value = braced();
    --depth_;
    return value;
  }

  /// Behind `${`.
  std::string braced() {
    if (at_end()) throw SyntaxError("syntax error: missing '}'");
    if (peek() == '{' || peek() == '}' || peek() == ':') throw SyntaxError("syntax error: bad substitution");
    const std::string name = take_name();
    if (at_end()) unclosed(name);
    std::string modifier(take());
    if (modifier == "}") return std::string(value_of(name).value_or(""));
    if (modifier == "/") return replaced(name);
    const bool empty_is_unset = modifier == ":";
    if (empty_is_unset) {
      if (at_end()) unclosed(name);
      modifier += take();
    }
    const char operation = modifier.back();
    if (modifier.size() == (empty_is_unset ? 2u : 1u)) {
      if (operation == '-' || operation == '+' || operation == '?')
        return defaulted(name, operation, empty_is_unset);
      if (!empty_is_unset && (operation == '#' || operation == '%')) return trimmed(name, operation);
    }
    unsupported(modifier);
  }

  [[noreturn]] static void unclosed(const std::string& name) {
    SyntaxError error("unsupported modifier (end of text) in substitution");
    error.add_note(cat("the } is missing: ${", printable(name), "}"));
    throw error;
  }

  [[noreturn]] static void unsupported(std::string_view modifier) {
    SyntaxError error(cat("unsupported modifier (", modifier, ") in substitution"));
    error.add_note(
        "known are ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?text} ${v?text} ${v#p} ${v##p} ${v%p} ${v%%p} ${v/p/r} "
        "${v//p/r}");
    throw error;
  }

  /// The part of a `${…}` that ends at `stop`. Whatever goes wrong in it, running into the end of the word is
  /// the mistake worth telling.
  std::string part(char stop, bool keep_escapes, const char* missing) {
    Output out(false);
    try {
      scan_until(stop, keep_escapes, out);
    } catch (const SyntaxError&) {
      if (at_end()) throw SyntaxError(missing);
      throw;
    }
    return out.take_text();
  }

  std::string defaulted(const std::string& name, char operation, bool empty_is_unset) {
    const std::string word = part('}', false, "syntax error: missing '}'");
    const auto value = value_of(name);
    const bool missing = !value || (empty_is_unset && value->empty());
    switch (operation) {
      case '-':
        return missing ? word : std::string(*value);
      case '+':
        return missing ? std::string() : word;
      default:
        break;
    }
    if (!missing) return std::string(*value);
    const char* reason = value ? "is not allowed to be empty" : "is not allowed to be unset";
    throw SyntaxError(cat(name, ": ", word.empty() ? reason : word));
  }

  std::string trimmed(const std::string& name, char operation) {
    std::string pattern = part('}', true, "syntax error: missing '}'");
    const std::string_view value = value_of(name).value_or("");
    const bool longest = !pattern.empty() && pattern.front() == operation;
    if (longest) pattern.erase(0, 1);
    const WordPattern compiled(pattern);
    std::string rest =
        operation == '#' ? compiled.without_prefix(value, longest) : compiled.without_suffix(value, longest);
    spend(compiled.steps() / kStepsOfAByte);
    return rest;
  }

  std::string replaced(const std::string& name) {
    const bool all = !at_end() && peek() == '/';
    if (all) take();
    const std::string pattern = part('/', true, "syntax error: missing '/' in ${}");
    const std::string replacement = part('}', true, "syntax error: missing '}'");
    const std::string_view value = value_of(name).value_or("");
    const WordPattern compiled(pattern);
    std::string text =
        all ? compiled.replace_all(value, replacement) : compiled.replace_first(value, replacement);
    spend(compiled.steps() / kStepsOfAByte);
    return text;
  }

  /// VAR-24.
  std::string take_name() {
    std::string name;
    bool digits_only = false;
    while (!at_end()) {
      const CodePoint point = decode_code_point(rest_);
      if (name.empty()) {
        digits_only = is_digit(point.value);
        if (is_special_parameter(peek()) && !digits_only) return std::string(take());
      }
      const bool belongs =
          is_digit(point.value) || (!digits_only && (is_letter(point.value) || point.value == '_'));
      if (!belongs) break;
      name += take();
    }
    return name;
  }

  std::optional<std::string_view> value_of(const std::string& name) {
    const auto value = lookup_(name);
    if (value) {
      spend(value->size());
    } else {
      unset_.insert(name);
    }
    return value;
  }

  void spend(std::uint64_t bytes) {
    cost_ += bytes;
    if (cost_ > kMaxCost) throw SyntaxError("the variables of the word take too long to expand");
  }

  static constexpr std::uint64_t kStepsOfAByte = 8;

  std::string_view rest_;
  const VariableLookup& lookup_;
  Mode mode_;
  bool keep_escapes_ = false;
  int depth_ = 0;
  std::uint64_t cost_ = 0;
  std::set<std::string> unset_;
};

/// `text` as a message shows it: quoted, and cut if it is long.
std::string quoted(std::string_view text) {
  constexpr std::size_t kShown = 200;
  std::string out = "\"";
  for (const char c : printable(text.substr(0, kShown))) {
    if (c == '"') out += '\\';
    out += c;
  }
  return out + (text.size() > kShown ? "…\"" : "\"");
}

template <typename Result>
Result expand(std::string_view word, const VariableLookup& lookup, Expander::Mode mode,
              Result (*finish)(Output&)) {
  Expander expander(word, lookup, mode);
  try {
    Output out = expander.run();
    Result result = finish(out);
    result.unset = expander.take_unset();
    result.cost = expander.cost();
    return result;
  } catch (const SyntaxError& error) {
    WordError whole(cat("failed to process ", quoted(word), ": ", error.message()), std::string(word));
    for (const auto& note : error.notes()) whole.add_note(note);
    throw whole;
  }
}

Expansion as_text(Output& out) { return {out.take_text(), {}, 0}; }
WordsExpansion as_words(Output& out) { return {out.take_words(), {}, 0}; }

}  // namespace

Expansion expand_word(std::string_view word, const VariableLookup& lookup, char escape) {
  return expand<Expansion>(word, lookup, {.escape = escape, .quotes = true, .split = false}, as_text);
}

WordsExpansion expand_words(std::string_view word, const VariableLookup& lookup, char escape) {
  return expand<WordsExpansion>(word, lookup, {.escape = escape, .quotes = true, .split = true}, as_words);
}

Expansion expand_heredoc(std::string_view body, const VariableLookup& lookup) {
  return expand<Expansion>(body, lookup, {.escape = '\\', .quotes = false, .split = false}, as_text);
}

}  // namespace imgbuild::parser
