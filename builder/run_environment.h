#pragma once

#include <string>

namespace imgbuild::builder {

/// What the result of a probe depends on (SBX-7): the kernel and its boot, and the namespaces, rights and
/// security label of the calling process. One line a fact. To be asked before the process enters namespaces
/// of its own.
std::string run_environment();

}  // namespace imgbuild::builder
