#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>

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
  bool peak_is_total = false;  ///< of all its processes together; else of the largest one
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
/// For `--explain`: why a step was not taken from the cache, one reason an event.
struct Explained {
  StepId step;
  std::string text;
};
/// For `--debug`: why something was decided.
struct Noted {
  std::string text;
  bool for_everybody = false;  ///< shown without --debug too
};

using Event =
    std::variant<StepStarted, StepOutput, StepProgress, StepUsed, StepFinished, Warned, Explained, Noted>;

/// Receives what a build reports. `on_event` is called from any thread: thread-safe, quick, never throws.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_event(const Event& event) noexcept = 0;
};

}  // namespace imgbuild::builder
