#pragma once

#include <vector>

#include "base/unique_fd.h"
#include "builder/cdi_spec.h"
#include "builder/plan.h"
#include "builder/sandbox.h"
#include "builder/steps/step.h"

namespace imgbuild::builder {

/// The CDI devices of one RUN (RUN-23). What it opened lives as long as it does, which must be longer than
/// the RUN.
class RunDevices {
 public:
  /// Finds the devices `op` names and opens what they bring. A device that is not there and not required is
  /// said as a warning. Throws UnsupportedError for what cannot be handed out safely.
  RunDevices(const StepContext& context, const RunOp& op);

  void add_to(SandboxSpec& spec) const;

 private:
  void open_node(const CdiNode& node);
  void open_mount(const CdiMount& mount);

  CdiEdits edits_;
  std::vector<UniqueFd> descriptors_;
  std::vector<SandboxMount> mounts_;
};

}  // namespace imgbuild::builder
