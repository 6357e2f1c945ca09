#include "builder/seccomp_profile.h"

namespace imgbuild::builder {

namespace {

constexpr sock_filter kProgram[] = {
#include "builder/seccomp_program.inc"
};
static_assert(sizeof kProgram / sizeof *kProgram <= BPF_MAXINSNS);

}  // namespace

std::span<const sock_filter> default_seccomp_filter() noexcept { return kProgram; }

}  // namespace imgbuild::builder
