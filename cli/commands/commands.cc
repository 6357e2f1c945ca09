#include "cli/commands/commands.h"

namespace imgbuild::cli {

std::vector<AddCommand> all_commands() {
  return {add_build_command, add_load_command,   add_images_command,  add_inspect_command, add_rmi_command,
          add_diff_command,  add_why_command,    add_context_command, add_du_command,      add_prune_command,
          add_fsck_command,  add_doctor_command, add_debug_command};
}

}  // namespace imgbuild::cli
