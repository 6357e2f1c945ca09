// Input: a letter that chooses the mode, the word, a NUL, the value of every variable whose name is not `u`.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "parser/duration.h"
#include "parser/file_mode.h"
#include "parser/git_reference.h"
#include "parser/words.h"

using namespace imgbuild;
using namespace imgbuild::parser;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void read_value(std::string_view text) {
  try {
    const auto change = FileModeChange::parse(text);
    require(change.apply(0644, false) <= 07777);
    require(change.apply(07777, true) <= 07777);
  } catch (const SyntaxError&) {
  }
  try {
    const auto git = parse_git_reference(text);
    require(!git || !git->remote.empty());
  } catch (const SyntaxError&) {
  }
  try {
    // What is printed reads as the same time again.
    const auto duration = parse_go_duration(text);
    require(parse_go_duration(format_go_duration(duration)) == duration);
  } catch (const SyntaxError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const char mode = input[0];
  const std::string_view word = input.substr(1, input.find('\0', 1) - 1);
  const std::string_view value = input.substr(std::min(size, 1 + word.size() + 1));
  const VariableLookup lookup = [&](std::string_view name) {
    return name == "u" ? std::nullopt : std::optional<std::string_view>(value);
  };
  try {
    const char escape = mode & 1 ? '`' : '\\';
    if (mode & 2) {
      for (const auto& part : expand_words(word, lookup, escape).words) require(!part.empty());
    } else {
      const auto expansion = mode & 4 ? expand_heredoc(word, lookup) : expand_word(word, lookup, escape);
      require(expansion.text.size() <= (mode & 4 ? 16u : 1u) << 20);
      require(expansion.unset.empty() || expansion.unset.size() == 1);
    }
  } catch (const SyntaxError& error) {
    require(error.message().starts_with("failed to process "));
  }
  read_value(word);
  return 0;
}
