#pragma once

#include <string>
#include <vector>

#include "builder/resource_limits.h"

namespace imgbuild::builder {

/// One file of a control group and what is written into it.
struct CgroupSetting {
  std::string controller;  ///< "memory"
  std::string file;        ///< "memory.max"
  std::string value;
  std::string option;     ///< for messages: "--memory"
  bool optional = false;  ///< nobody asked for it: missing is fine
};

/// What `limits` are in control groups of version 2 (SBX-101) and of version 1 (SBX-102), in the order to
/// write them.
std::vector<CgroupSetting> unified_settings(const ResourceLimits& limits);
std::vector<CgroupSetting> v1_settings(const ResourceLimits& limits);

/// The controllers of `settings`, each once.
std::vector<std::string> controllers_of(const std::vector<CgroupSetting>& settings);

}  // namespace imgbuild::builder
