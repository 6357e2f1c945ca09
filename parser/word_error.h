#pragma once

#include <string>
#include <utility>

#include "base/error.h"

namespace imgbuild::parser {

/// A mistake in one word of an instruction. Who knows the lines points at the word, if it finds it there.
class WordError : public SyntaxError {
 public:
  WordError(std::string message, std::string word)
      : SyntaxError(std::move(message)), word_(std::move(word)) {}
  /// `error`, which is about `word`.
  WordError(const SyntaxError& error, std::string word) : SyntaxError(error), word_(std::move(word)) {}
  const std::string& word() const noexcept { return word_; }

 private:
  std::string word_;
};

}  // namespace imgbuild::parser
