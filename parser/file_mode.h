#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::parser {

/// The value of --chmod: octal, or symbolic clauses applied to each entry (COPY-60…65; cases/chmod.json).
class FileModeChange {
 public:
  /// Throws SyntaxError (no range).
  static FileModeChange parse(std::string_view text);
  /// The 12 permission bits an entry with `mode` gets.
  std::uint32_t apply(std::uint32_t mode, bool is_directory) const;
  bool is_octal() const noexcept { return octal_; }
  /// Canonical text for cache keys: `755` and `0755` are equal.
  std::string canonical() const;

 private:
  struct Action {
    std::uint32_t who = 0;  // the mode bits of the classes named; 0: none were
    char op = '+';
    std::string permissions;  // of rwxXst and ugo
  };
  static std::uint32_t apply_action(const Action& action, std::uint32_t mode, bool executable);
  static bool copied_anything(const Action& action);

  bool octal_ = false;
  std::uint32_t value_ = 0;
  std::vector<Action> actions_;
  std::string text_;
};

}  // namespace imgbuild::parser
