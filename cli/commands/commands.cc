#include "cli/commands/commands.h"

namespace imgbuild::cli {

std::vector<AddCommand> all_commands() {
  return {add_build_command,   add_load_command,  add_images_command,
          add_inspect_command, add_debug_command, add_doctor_command};
}

}  // namespace imgbuild::cli
