#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/source_text.h"
#include "parser/instruction.h"

namespace imgbuild::parser {

/// The parser directives at the top of a Dockerfile (PAR-10…20).
struct Directives {
  char escape = '\\';
  std::optional<SyntaxDirective> syntax;
  std::optional<std::string> check;
  int check_line = 0;
};

/// Throws SyntaxError for a repeated directive or an unknown escape character. Lines are 1-based, unlike in
/// the reference (PAR-14).
Directives read_directives(const std::shared_ptr<const SourceText>& source);

}  // namespace imgbuild::parser
