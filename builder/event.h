#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/digest.h"
#include "base/source_text.h"

namespace imgbuild::builder {

/// Number of a step within one build, from 0, in the order of the plan.
using StepId = std::size_t;

struct StepStarted {
  StepId step;
  std::string label;  ///< "[build 2/5] RUN make"
  SourceRange where;
};
struct StepOutput {
  StepId step;
  int stream;         ///< 1 or 2
  std::string bytes;  ///< raw, not split in lines
};
struct StepProgress {
  StepId step;
  std::uint64_t done_bytes;
  std::uint64_t total_bytes;  ///< 0: unknown
};
struct StepFinished {
  StepId step;
  enum class How { ran, cached, failed, skipped } how;
  std::chrono::nanoseconds took;
};
/// What a command used.
struct ResourceUse {
  std::chrono::nanoseconds cpu_time{0};
  std::uint64_t peak_memory_bytes = 0;
  bool peak_is_total = false;    ///< of all its processes together; else of the largest one
  bool peak_is_sampled = false;  ///< the most that was seen; there may have been more between two looks
};
/// Comes between the output of a RUN that ran, successfully or not, and its end.
struct StepUsed {
  StepId step;
  ResourceUse use;
};
/// A build check or another remark. `rule` is empty for remarks that no rule names.
struct Warned {
  std::string rule;
  std::string text;
  std::string url;  ///< documentation of the rule, may be empty
  SourceRange where;
};
/// A step that could not be taken from the cache, and what an explanation needs. Published for every miss;
/// making words of it costs reads of the cache, so that is done only when somebody asks (Explained, `imgbuild
/// why`).
struct Missed {
  StepId step;
  Digest key;  ///< what the step's record lies under when it is done
  std::vector<std::string>
      slots;           ///< where records of the same place in the file lie: its own, then neighbours
  std::string parent;  ///< "line 4: RUN make", what comes before it; empty: its base
  std::vector<std::string> arguments;  ///< which variables are build arguments
  std::string note;                    ///< the reason, where it is not one of the inputs
};
/// Something takes long because somebody else is at it: another build, or another stage of this one.
struct Waiting {
  std::optional<StepId> step;  ///< nothing: it is no step that waits
  std::string what;            ///< "the same step in another build"
  int pid = 0;                 ///< of the process that is at it, 0 if unknown
};
/// For `--explain`: why a step was not taken from the cache, one event a step.
struct Explained {
  StepId step;
  std::string
      cause;  ///< one word for machines: "file", "argument", "environment", "command", "parent", "base"…
  std::string name;    ///< which file, which argument; may be empty
  std::string before;  ///< values, where there are any
  std::string after;
  std::string text;                 ///< the whole reason in one line
  std::vector<std::string> others;  ///< what differs besides
};
/// For `--debug`: why something was decided.
struct Noted {
  std::string text;
  bool for_everybody = false;  ///< shown without --debug too
};

using Event = std::variant<StepStarted, StepOutput, StepProgress, StepUsed, StepFinished, Warned, Missed,
                           Explained, Noted, Waiting>;

/// Receives what a build reports. `on_event` is called from any thread: thread-safe, quick, never throws.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_event(const Event& event) noexcept = 0;
};

}  // namespace imgbuild::builder
