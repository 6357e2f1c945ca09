#include "cli/tier.h"

#include <unistd.h>

#include "builder/run_environment.h"
#include "builder/user_namespace.h"

namespace imgbuild::cli {

TierChoice enter_best_tier(builder::Isolation isolation, bool shared_processes) {
  TierChoice choice;
  choice.real_uid = ::geteuid();
  if (choice.real_uid != 0) choice.environment = builder::run_environment();
  choice.report = builder::enter_user_namespace(isolation, shared_processes);
  return choice;
}

}  // namespace imgbuild::cli
