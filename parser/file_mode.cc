#include "parser/file_mode.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "parser/values.h"

namespace imgbuild::parser {

namespace {

constexpr std::uint32_t kSetUser = 04000, kSetGroup = 02000, kSticky = 01000;
constexpr std::uint32_t kEverybody = kSetUser | kSetGroup | 0777;  // without the sticky bit
constexpr std::uint32_t kExecute = 0111;

/// The bits the letters before the operator stand for; 0 without any.
std::uint32_t take_who(std::string_view& clause) {
  std::uint32_t who = 0;
  for (; !clause.empty(); clause.remove_prefix(1)) {
    switch (clause.front()) {
      case 'u':
        who |= kSetUser | 0700;
        break;
      case 'g':
        who |= kSetGroup | 0070;
        break;
      case 'o':
        who |= 0007;
        break;
      case 'a':
        who |= kEverybody;
        break;
      default:
        return who;
    }
  }
  return who;
}

std::uint32_t permission_bits(char letter) {
  switch (letter) {
    case 'r':
      return 0444;
    case 'w':
      return 0222;
    case 'x':
      return kExecute;
    default:
      return 0;
  }
}

/// The three bits of one class of `mode`, repeated for all three.
std::uint32_t copied_bits(char from, std::uint32_t mode) {
  const int shift = from == 'u' ? 6 : from == 'g' ? 3 : 0;
  return ((mode >> shift) & 7) * 0111;
}

[[noreturn]] void fail(std::string_view text) {
  SyntaxError error(cat("invalid syntax: \"", printable(text), "\" is no file mode"));
  error.add_note("write an octal number such as 755, or clauses such as u=rwX,go=rX");
  throw error;
}

}  // namespace

FileModeChange FileModeChange::parse(std::string_view text) {
  FileModeChange change;
  change.text_ = text;
  if (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    const auto value = parse_unsigned(text, 8);
    if (!value || *value > 07777) {
      throw SyntaxError(cat("invalid chmod parameter: '", printable(text),
                            "'. it should be octal string and between 0 and 07777"));
    }
    change.octal_ = true;
    change.value_ = *value;
    return change;
  }
  for (std::string_view clause : split(text, ',')) {
    const std::uint32_t who = take_who(clause);
    if (clause.empty()) fail(text);
    while (!clause.empty()) {
      Action action{who, clause.front(), {}};
      if (std::string_view("+-=").find(action.op) == std::string_view::npos) fail(text);
      clause.remove_prefix(1);
      const auto length = std::min(clause.find_first_not_of("rwxXstugo"), clause.size());
      action.permissions = clause.substr(0, length);
      clause.remove_prefix(length);
      change.actions_.push_back(std::move(action));
    }
  }
  return change;
}

std::uint32_t FileModeChange::apply(std::uint32_t mode, bool is_directory) const {
  if (octal_) return value_;
  mode &= 07777;
  // `X` looks at the mode before any clause (COPY-63).
  const bool executable = is_directory || (mode & kExecute) != 0;
  for (const auto& action : actions_) mode = apply_action(action, mode, executable);
  return mode;
}

std::uint32_t FileModeChange::apply_action(const Action& action, std::uint32_t mode, bool executable) {
  std::uint32_t who = action.who;
  std::uint32_t set = 0;
  std::uint32_t copied = 0;
  const bool only_others = who != 0 && (who & ~0007u) == 0;
  for (const char letter : action.permissions) {
    if (letter == 's' && !only_others) set |= kSetUser | kSetGroup;
    if (letter == 't' && !only_others) {
      // Naming the sticky bit makes it one of the bits meant: `=t` touches nothing else.
      who |= kSticky;
      set |= kSticky;
    }
    if (letter == 'X' && (executable || action.op == '-')) set |= kExecute;
    if (letter == 'u' || letter == 'g' || letter == 'o') copied |= copied_bits(letter, mode);
    set |= permission_bits(letter);
  }
  if (who == 0) who = kEverybody;
  const std::uint32_t bits = who & (set | copied);
  switch (action.op) {
    case '+':
      return mode | bits;
    case '-':
      return mode & ~bits;
    default:
      break;
  }
  // Copying a class leaves the set-id bits alone.
  const bool only_copies = set == 0 && copied_anything(action);
  const std::uint32_t cleared = only_copies ? who & 0777 : who;
  return (mode & ~cleared) | bits;
}

bool FileModeChange::copied_anything(const Action& action) {
  return action.permissions.find_first_of("ugo") != std::string::npos;
}

std::string FileModeChange::canonical() const {
  if (!octal_) return text_;
  std::string out(4, '0');
  for (std::size_t i = 0; i < 4; ++i) out[i] = static_cast<char>('0' + ((value_ >> (9 - 3 * i)) & 7));
  return out;
}

}  // namespace imgbuild::parser
