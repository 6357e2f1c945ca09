#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::parser {

enum class FlagKind { text, repeated, boolean };

struct FlagRule {
  std::string_view name;  ///< without the dashes
  FlagKind kind = FlagKind::text;
};

/// The flags of one instruction, checked against what it allows (PAR-44, PAR-45).
class Flags {
 public:
  /// Throws SyntaxError, with a note when an allowed name is close.
  Flags(const std::vector<std::string>& written, const std::vector<FlagRule>& allowed);

  /// The value of a text flag; nothing when it was not written.
  std::optional<std::string> text(std::string_view name) const;
  /// The same, but an empty value counts as not written (PAR-45).
  std::optional<std::string> text_unless_empty(std::string_view name) const;
  /// The values of a repeated flag, in order.
  std::vector<std::string> all(std::string_view name) const;
  std::optional<bool> boolean(std::string_view name) const;

 private:
  struct Flag {
    std::string name;
    std::string value;
    bool on = false;
  };
  void add(const std::string& word, const std::vector<FlagRule>& allowed);
  const Flag* find(std::string_view name) const;

  std::vector<Flag> flags_;
};

}  // namespace imgbuild::parser
