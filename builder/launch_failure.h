#pragma once

#include <functional>
#include <string_view>

#include "builder/sandbox.h"
#include "builder/sandbox_protocol.h"

namespace imgbuild::builder {

/// What a launch that never reached the command means. When the command is missing or cannot be executed:
/// says so on stream 2 and returns 127 or 126, as a shell would. Everything else is a failure of the sandbox
/// and throws SystemError with the stage (SBX-38), or Error for a working directory that leads outside.
int explain_failure(const launch::Failure& failure, const SandboxSpec& spec,
                    const std::function<void(int stream, std::string_view)>& output);

}  // namespace imgbuild::builder
