#pragma once

#include <string>

#include "base/error.h"

namespace imgbuild::cli {

/// How an error looks on the terminal: the message, the excerpt with the caret, what was going on, what to
/// try. Colour only when `colour`. Ends with a line feed. Never holds control characters from outside.
std::string render_error(const Error& error, bool colour);
std::string render_warning(const std::string& rule, const std::string& text, const std::string& url,
                           const SourceRange& where, bool colour);

}  // namespace imgbuild::cli
