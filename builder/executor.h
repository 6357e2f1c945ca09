#pragma once

#include <memory>
#include <stop_token>
#include <vector>

#include "builder/build.h"
#include "builder/plan.h"
#include "builder/snapshot.h"
#include "builder/source_tree.h"
#include "oci/image.h"

namespace imgbuild::builder {

/// What a stage came to: its file system and its history with times.
struct StageResult {
  Snapshot snapshot;
  std::vector<oci::HistoryEntry> history;  ///< base history in front
};

/// What the plan needs from outside while it is executed.
struct ExecuteInputs {
  const BuildRequest& request;
  const Plan& plan;
  const std::vector<oci::Image>& images;     ///< behind Plan::images
  std::shared_ptr<SourceTree> main_context;  ///< nothing is read from it before a step asks
};

struct ExecuteResult {
  StageResult target;
  std::size_t steps_run = 0;
  std::size_t steps_cached = 0;
  std::uint64_t layer_bytes = 0;                              ///< packed size of the layers that were made
  std::vector<std::pair<std::string, ResourceUse>> commands;  ///< by label, in the order they ended
  std::vector<std::pair<std::string, std::chrono::nanoseconds>> parts = {};  ///< of the time of all steps
  std::uint64_t layer_bytes_reused = 0;  ///< of these, taken from earlier layers
};

/// Runs the steps of `plan` that have to run, independent ones in parallel, and takes the others from the
/// cache. Errors are located at the instruction. Throws Cancelled when stopped.
ExecuteResult execute(const ExecuteInputs& inputs, Host& host, EventSink& events, std::stop_token stop);

}  // namespace imgbuild::builder
