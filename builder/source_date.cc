#include "builder/source_date.h"

#include <charconv>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

std::optional<std::int64_t> parse_source_date_epoch(std::string_view text,
                                                    std::optional<std::int64_t> context_time) {
  if (text.empty()) return std::nullopt;
  if (text == "context") return context_time;
  std::int64_t seconds = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, seconds);
  if (stop == end && code == std::errc()) return seconds;
  Error error(cat("invalid SOURCE_DATE_EPOCH: ", printable(text)), ExitCode::usage);
  error.add_note("write seconds since 1970, or `context` for the time of a git context");
  throw error;
}

}  // namespace imgbuild::builder
