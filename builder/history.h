#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "builder/plan.h"
#include "oci/image_config.h"

namespace imgbuild::builder {

// Texts of `created_by` (CFG-22), byte for byte as images built elsewhere carry them, so that tools that read
// histories keep working. Every value is expanded already.

/// `"a\"b"`: double quotes, escapes for control characters, quotes and backslashes.
std::string quote_word(std::string_view word);

/// `args`: declared ARGs in order of declaration with their current value.
std::string history_of_run(const std::vector<std::pair<std::string, std::string>>& args,
                           const std::vector<std::string>& argv);
/// COPY and ADD; `destination` as written after expansion.
std::string history_of_copy(const CopyOp& op, const std::string& destination);
/// `ENV a=1 b=2`, `LABEL …`.
std::string history_of_pairs(std::string_view keyword,
                             const std::vector<std::pair<std::string, std::string>>& pairs);
/// `CMD ["a" "b c"]`.
std::string history_of_command(std::string_view keyword, const std::vector<std::string>& words);
/// `EXPOSE [80/tcp 81/udp]`.
std::string history_of_list(std::string_view keyword, const std::vector<std::string>& words);
std::string history_of_healthcheck(const oci::Healthcheck& check);

/// The entries `stage` adds, with the texts of its RUN lines, which repeat every ARG and are therefore made
/// only where an image is. Throws Error when they are larger than a config may be.
std::vector<oci::HistoryEntry> finished_history(const PlannedStage& stage);

/// An entry of this build, `created` unset (CFG-20).
oci::HistoryEntry history_entry(std::string created_by, bool empty_layer);

}  // namespace imgbuild::builder
