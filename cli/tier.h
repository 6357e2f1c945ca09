#pragma once

#include <sys/types.h>

#include <string>

#include "builder/probe.h"

namespace imgbuild::cli {

/// What this process may do, found out once before any thread exists (SBX-4, RLS-3).
struct TierChoice {
  uid_t real_uid = 0;  ///< of the user who started imgbuild, whatever namespace it is in now
  std::string
      environment;  ///< builder::run_environment() from before a namespace was entered; empty: none was
  builder::TierReport report;
};

/// As root nothing is entered. As an ordinary user: enters a user namespace with the user's subordinate ids.
TierChoice enter_best_tier(builder::Isolation isolation = builder::Isolation::automatic,
                           bool shared_processes = false);

}  // namespace imgbuild::cli
