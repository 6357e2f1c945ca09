#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace imgbuild::builder {

/// The number of the process behind a pidfd, as our /proc counts; nothing when it is gone or out of sight.
std::optional<pid_t> pid_of(int pidfd);

/// Whether a process can notice SIGTERM, by its /proc/N/status: it catches or blocks the signal. The first
/// process of a namespace that does neither never learns of it: the kernel keeps the signal from it.
bool notices_sigterm(std::string_view status);
/// The same about a running process; true when that cannot be found out.
bool notices_sigterm(pid_t pid);

/// The parent of a process; nothing when it is gone.
std::optional<pid_t> process_parent(pid_t pid);
/// "D (disk sleep)" and the like; empty when the process is gone.
std::string process_state(pid_t pid);
/// When a process was started, in the kernel's ticks: with its number it names the process for ever. Nothing
/// when there is none, or when it is dead and only not collected yet.
std::optional<std::uint64_t> process_start(pid_t pid);

}  // namespace imgbuild::builder
