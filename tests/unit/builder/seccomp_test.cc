#include <doctest/doctest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "builder/seccomp_build.h"
#include "builder/seccomp_profile.h"

using imgbuild::builder::build_seccomp_filter;
using imgbuild::builder::default_seccomp_filter;

namespace {

/// Runs a filter as the kernel would (SBX-96): classic BPF, of which filters use a small part.
std::uint32_t verdict(const seccomp_data& data) {
  const auto program = default_seccomp_filter();
  std::uint32_t accumulator = 0;
  std::uint32_t memory[BPF_MEMWORDS] = {};
  for (std::size_t at = 0; at < program.size(); ++at) {
    const sock_filter& step = program[at];
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        REQUIRE(step.k + 4 <= sizeof data);
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + step.k, 4);
        break;
      case BPF_LD | BPF_W | BPF_MEM:
        accumulator = memory[step.k];
        break;
      case BPF_ST:
        memory[step.k] = accumulator;
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= step.k;
        break;
      case BPF_JMP | BPF_JA:
        at += step.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == step.k ? step.jt : step.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        at += accumulator > step.k ? step.jt : step.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += accumulator >= step.k ? step.jt : step.jf;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        at += (accumulator & step.k) != 0 ? step.jt : step.jf;
        break;
      case BPF_RET | BPF_K:
        return step.k;
      default:
        FAIL("unexpected instruction ", step.code);
    }
  }
  FAIL("the filter ran off its end");
  return 0;
}

constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr std::uint32_t kForbidden = SECCOMP_RET_ERRNO | EPERM;
constexpr std::uint32_t kUnknown = SECCOMP_RET_ERRNO | ENOSYS;

#if defined(__x86_64__)

constexpr std::uint32_t kX32 = 0x40000000;

std::uint32_t call(std::uint32_t arch, int number, std::uint64_t first = 0, std::uint64_t second = 0) {
  seccomp_data data{};
  data.nr = number;
  data.arch = arch;
  data.args[0] = first;
  data.args[1] = second;
  return verdict(data);
}
std::uint32_t native(const char* name, std::uint64_t first = 0) {
  const int number = ::seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, name);
  REQUIRE(number >= 0);
  return call(AUDIT_ARCH_X86_64, number, first);
}
std::uint32_t i386(const char* name, std::uint64_t first = 0) {
  const int number = ::seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86, name);
  REQUIRE(number >= 0);
  return call(AUDIT_ARCH_I386, number, first);
}
std::uint32_t x32(const char* name, std::uint64_t first = 0) {
  const int number = ::seccomp_syscall_resolve_name_arch(SCMP_ARCH_X32, name);
  REQUIRE((static_cast<std::uint32_t>(number) & kX32) != 0);
  return call(AUDIT_ARCH_X86_64, number, first);
}

#endif

}  // namespace

#if defined(__x86_64__)

TEST_CASE("ordinary calls are allowed on every architecture the machine runs") {
  for (const char* name : {"read",
                           "write",
                           "openat",
                           "execve",
                           "exit_group",
                           "mmap",
                           "futex",
                           "ptrace",
                           "mknod",
                           "chroot",
                           "setxattr",
                           "name_to_handle_at",
                           "seccomp",
                           "capset",
                           "close_range",
                           "prctl",
                           "setresuid",
                           "fchdir",
                           "rseq",
                           "statx",
                           "openat2",
                           "pidfd_open",
                           "landlock_create_ruleset"}) {
    CAPTURE(name);
    CHECK(native(name) == kAllow);
    CHECK(i386(name) == kAllow);
    CHECK(x32(name) == kAllow);
  }
  CHECK(i386("socketcall") == kAllow);
  CHECK(i386("waitpid") == kAllow);
}

TEST_CASE("calls that reach the host are forbidden on every architecture (ATK-14, ATK-15)") {
  for (const char* name : {"mount",
                           "umount2",
                           "move_mount",
                           "open_tree",
                           "fsopen",
                           "fsconfig",
                           "fsmount",
                           "fspick",
                           "mount_setattr",
                           "pivot_root",
                           "setns",
                           "unshare",
                           "bpf",
                           "perf_event_open",
                           "fanotify_init",
                           "quotactl",
                           "syslog",
                           "sethostname",
                           "setdomainname",
                           "lookup_dcookie",
                           "open_by_handle_at",
                           "reboot",
                           "kexec_load",
                           "swapon",
                           "init_module",
                           "finit_module",
                           "delete_module",
                           "acct",
                           "kcmp",
                           "pidfd_getfd",
                           "process_madvise",
                           "iopl",
                           "ioperm",
                           "settimeofday",
                           "clock_settime",
                           "vhangup",
                           "mbind",
                           "get_mempolicy",
                           "set_mempolicy",
                           "move_pages",
                           "migrate_pages",
                           "add_key",
                           "request_key",
                           "keyctl",
                           "userfaultfd",
                           "io_uring_setup",
                           "io_uring_enter",
                           "io_uring_register",
                           "ustat",
                           "sysfs",
                           "_sysctl"}) {
    CAPTURE(name);
    CHECK(native(name) == kForbidden);
    const int on_i386 = ::seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86, name);
    if (on_i386 >= 0) CHECK(call(AUDIT_ARCH_I386, on_i386) == kForbidden);
    const int on_x32 = ::seccomp_syscall_resolve_name_arch(SCMP_ARCH_X32, name);
    if (on_x32 >= 0) CHECK(call(AUDIT_ARCH_X86_64, on_x32) == kForbidden);
  }
}

TEST_CASE("clone makes processes but no namespaces, clone3 does not exist (SBX-91)") {
  CHECK(native("clone", SIGCHLD) == kAllow);
  CHECK(native("clone", CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD) == kAllow);
  for (const std::uint64_t flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER,
                                   CLONE_NEWPID, CLONE_NEWNET}) {
    CHECK(native("clone", flag | SIGCHLD) == kForbidden);
    CHECK(i386("clone", flag | SIGCHLD) == kForbidden);
  }
  CHECK(call(AUDIT_ARCH_X86_64, 435) == kUnknown);
  CHECK(call(AUDIT_ARCH_I386, 435) == kUnknown);
}

TEST_CASE("two socket families are forbidden, their neighbours are not (ATK-13, SBX-94)") {
  for (const int family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, 37, 39, 41, 45}) {
    CAPTURE(family);
    CHECK(native("socket", static_cast<std::uint64_t>(family)) == kAllow);
    CHECK(call(AUDIT_ARCH_I386, 359, static_cast<std::uint64_t>(family)) == kAllow);
  }
  for (const int family : {AF_ALG, AF_VSOCK}) {
    CAPTURE(family);
    CHECK(native("socket", static_cast<std::uint64_t>(family)) == kForbidden);
    CHECK(call(AUDIT_ARCH_I386, 359, static_cast<std::uint64_t>(family)) ==
          kForbidden);  // besides socketcall
    CHECK(x32("socket", static_cast<std::uint64_t>(family)) == kForbidden);
  }
  // The kernel looks at the low half only: what is above must not open a way round.
  CHECK(native("socket", (std::uint64_t{1} << 32) | AF_ALG) == kForbidden);
}

TEST_CASE("only the harmless personalities can be had") {
  for (const std::uint64_t persona : {0x0ull, 0x8ull, 0x20000ull, 0x20008ull, 0xffffffffull})
    CHECK(native("personality", persona) == kAllow);
  for (const std::uint64_t persona : {0x1ull, 0x40000ull, 0x400000ull})
    CHECK(native("personality", persona) == kForbidden);
}

TEST_CASE("calls the profile does not know do not exist (SBX-92, ATK-15)") {
  for (const int number : {468, 600, 100'000, -1}) {
    CAPTURE(number);
    CHECK(call(AUDIT_ARCH_X86_64, number) == kUnknown);
    CHECK(call(AUDIT_ARCH_I386, number) == kUnknown);
    CHECK(call(AUDIT_ARCH_X86_64, static_cast<int>(static_cast<std::uint32_t>(number) | kX32)) == kUnknown);
  }
  // Known by number, whatever the library knows: mseal and the calls for attributes by directory.
  for (const int number : {457, 458, 462, 463, 464, 465, 466}) {
    CAPTURE(number);
    CHECK(call(AUDIT_ARCH_X86_64, number) == kAllow);
    CHECK(call(AUDIT_ARCH_I386, number) == kAllow);
  }
  for (const int number : {459, 460, 461, 467}) CHECK(call(AUDIT_ARCH_X86_64, number) == kForbidden);
}

TEST_CASE("other architectures can call nothing") { CHECK(call(AUDIT_ARCH_AARCH64, 0) == kForbidden); }

#endif

TEST_CASE("the filter in the program is what the library makes of the profile (SBX-14)") {
  const auto embedded = default_seccomp_filter();
  const auto made = build_seccomp_filter();
  CHECK(embedded.size() > 100);
  CHECK(embedded.size() <= BPF_MAXINSNS);
  REQUIRE(embedded.size() == made.size());
  CHECK(std::memcmp(embedded.data(), made.data(), embedded.size_bytes()) == 0);
}
