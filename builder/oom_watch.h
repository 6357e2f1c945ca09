#pragma once

#include <string>
#include <string_view>

#include "base/unique_fd.h"

namespace imgbuild::builder {

/// The process the kernel's log says it killed for lack of memory in a control group whose path holds
/// `group`: "process 17 (cc1plus)", empty when it says nothing about it. `log` holds records as /dev/kmsg
/// gives them.
std::string find_oom_victim(std::string_view log, std::string_view group);

/// Follows the kernel's log from its making on, where this user may read it; elsewhere it knows nothing.
class OomWatch {
 public:
  OomWatch();
  /// What happened since then, as above.
  std::string victim(std::string_view group) const;

 private:
  UniqueFd log_;
};

}  // namespace imgbuild::builder
