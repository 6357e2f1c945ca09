#include "builder/seccomp_profile.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <memory>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "builder/seccomp_names.h"

namespace imgbuild::builder {

namespace {

constexpr unsigned kX32Bit = 0x40000000;
/// Flags of clone that make namespaces; plain processes and threads may be made (SBX-91).
constexpr std::uint64_t kNamespaceFlags = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                          CLONE_NEWPID | CLONE_NEWNET;

struct Release {
  void operator()(scmp_filter_ctx context) const noexcept { ::seccomp_release(context); }
};
using Filter = std::unique_ptr<void, Release>;

void require(int result, std::string_view what) {
  if (result < 0) throw SystemError(-result, "build the system call filter:", what);
}

/// Calls the library does not know are allowed by number, so that the profile is the same wherever it was built
/// (SBX-95). Numbers from here on are the same on every architecture.
constexpr std::uint32_t kFirstCommonNumber = 424;

bool is_known(const char* name) { return ::seccomp_syscall_resolve_name(name) != __NR_SCMP_ERROR; }

std::vector<std::uint32_t> calls_by_number() {
  std::vector<std::uint32_t> numbers;
  for (const AllowedCall& call : allowed_calls())
    if (call.number != kUnknownNumber && !is_known(call.name)) numbers.push_back(static_cast<std::uint32_t>(call.number));
  return numbers;
}

void allow_if(const Filter& filter, const char* name, scmp_arg_cmp condition) {
  require(::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, ::seccomp_syscall_resolve_name(name), 1, condition), name);
}

void add_rules(const Filter& filter) {
  for (const AllowedCall& call : allowed_calls()) {
    if (!is_known(call.name)) continue;
    require(::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, ::seccomp_syscall_resolve_name(call.name), 0), call.name);
  }
  for (const std::uint64_t persona : {0x0ull, 0x8ull, 0x20000ull, 0x20008ull, 0xffffffffull})
    allow_if(filter, "personality", SCMP_A0(SCMP_CMP_EQ, persona));
  allow_if(filter, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, kNamespaceFlags, 0));
  require(::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), ::seccomp_syscall_resolve_name("clone3"), 0), "clone3");
  // Everything but AF_ALG and AF_VSOCK. As ranges: several "not equal" would be joined by "or" (SBX-94).
  allow_if(filter, "socket", SCMP_A0(SCMP_CMP_LT, AF_ALG));
  allow_if(filter, "socket", SCMP_A0(SCMP_CMP_EQ, 39));
  allow_if(filter, "socket", SCMP_A0(SCMP_CMP_GT, AF_VSOCK));
}

std::vector<sock_filter> export_program(const Filter& filter) {
  const UniqueFd file(::memfd_create("filter", MFD_CLOEXEC));
  if (!file) throw SystemError(errno, "create a file in memory");
  require(::seccomp_export_bpf(filter.get(), file.get()), "export");
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  std::vector<sock_filter> program(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (::pread(file.get(), program.data(), static_cast<std::size_t>(size), 0) != size) throw SystemError(errno, "read", "the filter");
  return program;
}

/// Calls newer than the profile do not exist, rather than being forbidden: programs then take their older way, where
/// EPERM would end them (SBX-92). Those the library has no name for are decided here too.
std::vector<sock_filter> number_rules(std::uint32_t arch, std::uint32_t number_mask) {
  const auto by_number = calls_by_number();
  const auto skip = static_cast<std::uint8_t>(2 * by_number.size());
  std::vector<sock_filter> rules = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, static_cast<std::uint8_t>(5 + skip)),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, number_mask),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, kNewestKnownCall, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kFirstCommonNumber, 0, skip),
  };
  for (const std::uint32_t number : by_number) {
    rules.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    rules.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  return rules;
}

void append(std::vector<sock_filter>& program, const std::vector<sock_filter>& more) {
  program.insert(program.end(), more.begin(), more.end());
}

std::vector<sock_filter> build() {
  const Filter filter(::seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!filter) throw SystemError(ENOMEM, "build the system call filter");
  std::vector<sock_filter> program;
#if defined(__x86_64__)
  require(::seccomp_arch_add(filter.get(), SCMP_ARCH_X86), "x86");
  require(::seccomp_arch_add(filter.get(), SCMP_ARCH_X32), "x32");
  append(program, number_rules(AUDIT_ARCH_X86_64, ~kX32Bit));
  append(program, number_rules(AUDIT_ARCH_I386, ~0u));
#elif defined(__aarch64__)
  require(::seccomp_arch_add(filter.get(), SCMP_ARCH_ARM), "arm");
  append(program, number_rules(AUDIT_ARCH_AARCH64, ~0u));
#else
  throw UnsupportedError("there is no system call filter for this architecture");
#endif
  require(::seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM)), "unknown architectures");
  require(::seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "order");
  add_rules(filter);
  append(program, export_program(filter));
  if (program.size() > BPF_MAXINSNS) throw Error("the system call filter is too long");
  return program;
}

}  // namespace

const std::vector<sock_filter>& default_seccomp_filter() {
  static const std::vector<sock_filter> filter = build();
  return filter;
}

}  // namespace imgbuild::builder
