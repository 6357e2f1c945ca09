#include "cli/tier.h"

#include <unistd.h>

#include "builder/user_namespace.h"

namespace imgbuild::cli {

TierChoice enter_best_tier() {
  TierChoice choice;
  choice.real_uid = ::geteuid();
  choice.report = builder::enter_user_namespace();
  return choice;
}

}  // namespace imgbuild::cli
