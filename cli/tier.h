#pragma once

#include <sys/types.h>

#include <string>

namespace imgbuild::cli {

/// What this process may do, found out once before any thread exists (SBX-4, RLS-3).
struct TierChoice {
  uid_t real_uid = 0;              ///< of the user who started imgbuild, whatever namespace it is in now
  bool can_run = false;            ///< a full sandbox can be had
  bool in_user_namespace = false;  ///< overlay xattrs and device rules of a user namespace apply
  std::string name;                ///< "T0", "T1"
  std::string refusal;             ///< why RUN cannot be had, with what to do
};

/// As root nothing is entered. As an ordinary user: enters a user namespace with the user's subordinate ids.
TierChoice enter_best_tier();

}  // namespace imgbuild::cli
