#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/store_dir.h"
#include "builder/event.h"

namespace imgbuild::cli {

/// One step that was not taken from the cache, as `imgbuild why` needs it. Format: docs/formats/build-log.md.
struct LoggedMiss {
  std::string label;  ///< "[build 2/5] RUN make"
  std::string file;   ///< the Dockerfile's name
  int line = 0;       ///< where the instruction begins
  bool done = false;  ///< it ran to its end, so its record is in the store
  bool git_modes = false;
  builder::Missed missed;
};

/// What BuildLog::save() wrote last; nothing when there is none, or none that can be understood.
std::optional<std::vector<LoggedMiss>> read_build_log(int store_root);

/// One line of JSON of an explanation, as `--explain=json` and `imgbuild why --format=json` print it.
std::string explanation_json(const builder::Explained& explained, const std::string& label,
                             const std::string& file, int line);

/// Passes a build's events on to `next`, and keeps what the log needs. With `explain_json`, explanations do
/// not reach `next` but go to descriptor `fd`, a line of JSON each. Thread-safe.
class BuildLog final : public builder::EventSink {
 public:
  BuildLog(builder::EventSink& next, int fd, bool explain_json, bool git_modes)
      : next_(next), fd_(fd), explain_json_(explain_json), git_modes_(git_modes) {}
  void on_event(const builder::Event& event) noexcept override;
  /// Writes the misses to `logs/last-build.json` of the store, in one rename, when there were any. A log that
  /// cannot be written is none: the build's own result is what the user has to know.
  void save(const StoreDir& store) const noexcept;

 private:
  void keep(const builder::Event& event);

  builder::EventSink& next_;
  int fd_;
  bool explain_json_;
  bool git_modes_;
  mutable std::mutex mutex_;
  std::map<builder::StepId, builder::StepStarted> started_;
  std::map<builder::StepId, LoggedMiss> misses_;
};

}  // namespace imgbuild::cli
