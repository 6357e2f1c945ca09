#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string_view>

#include "base/unique_fd.h"
#include "builder/sandbox.h"
#include "builder/sandbox_protocol.h"
#include "builder/stop_sequence.h"
#include "builder/watchdog.h"

namespace imgbuild::builder {

/// Our ends of what connects us with a launch.
struct LaunchPipes {
  UniqueFd output, errors;  ///< the command's stdout and stderr
  UniqueFd report;          ///< launch::Failure, or nothing
  UniqueFd reply;           ///< launch::Started, launch::Ended
};

struct WatchResult {
  std::optional<launch::Failure> failure;  ///< the command was never executed
  launch::Ended ended;
  bool timed_out = false;
  std::optional<WatchReport> seen;  ///< when there was something to watch
};

/// Hands on what a launched command writes until it and everything it started are gone. When `stop` is
/// requested or the time is over the command is asked to end, and killed when it does not, or cannot notice
/// (SBX-85). `watchdog`, unless it is null, watches it. Throws Error when the launcher could not
/// start it or is lost itself, StuckProcess when it does not end although it was killed. The caller looks at
/// `stop` afterwards.
WatchResult watch_launch(LaunchPipes pipes, const SandboxSpec& spec, const StopTimes& times,
                         Watchdog* watchdog, const std::function<void(int stream, std::string_view)>& output,
                         std::stop_token stop);

}  // namespace imgbuild::builder
