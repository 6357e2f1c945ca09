#include "cli/build_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "oci/json_reader.h"

namespace imgbuild::cli {

namespace {

using nlohmann::json;

constexpr std::int64_t kVersion = 1;
constexpr std::uint64_t kMaxBytes = 16u << 20;
constexpr const char* kName = "last-build.json";

json to_json(const LoggedMiss& miss) {
  return {{"label", miss.label},
          {"file", miss.file},
          {"line", miss.line},
          {"done", miss.done},
          {"git_modes", miss.git_modes},
          {"step", miss.missed.step},
          {"key", miss.missed.key.str()},
          {"slots", miss.missed.slots},
          {"parent", miss.missed.parent},
          {"arguments", miss.missed.arguments},
          {"note", miss.missed.note}};
}

bool flag(const oci::JsonValue& object, const std::string& name) {
  const auto* value = object.find(name);
  return value != nullptr && value->as_bool();
}

LoggedMiss from_json(const oci::JsonValue& object) {
  LoggedMiss miss{.label = object.string_or_empty("label"),
                  .file = object.string_or_empty("file"),
                  .line = static_cast<int>(object.integer_or("line", 0)),
                  .done = flag(object, "done"),
                  .git_modes = flag(object, "git_modes"),
                  .missed = {.step = static_cast<builder::StepId>(object.integer_or("step", 0)),
                             .key = Digest::parse(object.string_or_empty("key")),
                             .slots = object.strings("slots"),
                             .parent = object.string_or_empty("parent"),
                             .arguments = object.strings("arguments"),
                             .note = object.string_or_empty("note")}};
  return miss;
}

/// Throws SystemError.
void write_build_log(const StoreDir& store, const std::map<builder::StepId, LoggedMiss>& misses) {
  json steps = json::array();
  for (const auto& [step, miss] : misses) steps.push_back(to_json(miss));
  const std::string text = json{{"version", kVersion}, {"steps", std::move(steps)}}.dump(
      -1, ' ', false, json::error_handler_t::replace);
  ensure_dir_at(store.fd(), "logs", 0700);
  const UniqueFd dir = open_at(store.fd(), "logs", O_RDONLY | O_DIRECTORY);
  store.publish(dir.get(), kName, text);
}

}  // namespace

std::optional<std::vector<LoggedMiss>> read_build_log(int store_root) {
  const UniqueFd file(
      ::openat(store_root, cat("logs/", kName).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) return std::nullopt;
  try {
    const auto document = oci::JsonValue::parse(read_file(file.get(), kMaxBytes, kName), kName);
    if (document.integer_or("version", 0) != kVersion) return std::nullopt;
    std::vector<LoggedMiss> misses;
    if (const auto* steps = document.find("steps")) {
      for (const auto& step : steps->as_array()) misses.push_back(from_json(step));
    }
    return misses;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string explanation_json(const builder::Explained& explained, const std::string& label,
                             const std::string& file, int line) {
  const json document = {{"step", label},
                         {"file", file},
                         {"line", line},
                         {"cause", explained.cause},
                         {"name", explained.name},
                         {"before", explained.before},
                         {"after", explained.after},
                         {"text", explained.text},
                         {"others", explained.others}};
  return document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

void BuildLog::on_event(const builder::Event& event) noexcept {
  try {
    const std::lock_guard guard(mutex_);
    keep(event);
    const auto* explained = std::get_if<builder::Explained>(&event);
    if (explained != nullptr && explain_json_) {
      const auto& step = started_[explained->step];
      write_all(fd_,
                explanation_json(*explained, step.label, step.where.text ? step.where.text->name() : "",
                                 step.where.first_line),
                "explanations");
      return;
    }
  } catch (const std::exception&) {
    // Without memory or a reader the log is poorer; the build itself goes on.
  }
  if (!std::holds_alternative<builder::Missed>(event)) next_.on_event(event);
}

void BuildLog::keep(const builder::Event& event) {
  if (const auto* started = std::get_if<builder::StepStarted>(&event)) {
    started_[started->step] = *started;
  } else if (const auto* missed = std::get_if<builder::Missed>(&event)) {
    const auto& step = started_[missed->step];
    misses_.insert_or_assign(missed->step, LoggedMiss{.label = step.label,
                                                      .file = step.where.text ? step.where.text->name() : "",
                                                      .line = step.where.first_line,
                                                      .done = false,
                                                      .git_modes = git_modes_,
                                                      .missed = *missed});
  } else if (const auto* finished = std::get_if<builder::StepFinished>(&event)) {
    const auto miss = misses_.find(finished->step);
    if (miss != misses_.end()) miss->second.done = finished->how == builder::StepFinished::How::ran;
  }
}

void BuildLog::save(const StoreDir& store) const noexcept {
  try {
    const std::lock_guard guard(mutex_);
    if (!misses_.empty()) write_build_log(store, misses_);
  } catch (const std::exception&) {
    // See build_log.h.
  }
}

}  // namespace imgbuild::cli
