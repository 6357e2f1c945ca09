#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "builder/machine_facts.h"
#include "builder/run_support.h"

namespace imgbuild::cli {

/// What `imgbuild doctor` found out.
struct DoctorReport {
  builder::MachineFacts facts;
  builder::RunSupport support;  ///< without its pointers: tier, snapshotter, blockers count
  std::string fuse;             ///< why fuse-overlayfs is not taken; empty: it is there
  std::optional<std::chrono::nanoseconds> launch;  ///< from the request to the end of an empty command
};

/// The ladder of tiers, the rung this machine gives, what blocked those above, and how to climb. Pure.
std::string render_doctor(const DoctorReport& report);
/// The same for machines, ending with a newline.
std::string render_doctor_json(const DoctorReport& report);

}  // namespace imgbuild::cli
