#include "builder/seccomp_build.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
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

constexpr std::uint32_t kX32Bit = 0x40000000;
constexpr std::uint32_t kNoEnd = 0xffffffff;
/// Flags of clone that make namespaces; plain processes and threads may be made (SBX-91).
constexpr std::uint64_t kNamespaceFlags =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

struct Release {
  void operator()(scmp_filter_ctx context) const noexcept { ::seccomp_release(context); }
};
using Filter = std::unique_ptr<void, Release>;

void require(int result, std::string_view what) {
  if (result < 0) throw SystemError(-result, "build the system call filter:", what);
}

/// Calls the library does not know are allowed by number, so that the profile is the same wherever it was
/// built (SBX-95). Numbers from here on are the same on every architecture.
constexpr std::uint32_t kFirstCommonNumber = 424;

bool is_known(const char* name) { return ::seccomp_syscall_resolve_name(name) != __NR_SCMP_ERROR; }

std::vector<std::uint32_t> calls_by_number() {
  std::vector<std::uint32_t> numbers;
  for (const AllowedCall& call : allowed_calls())
    if (call.number != kUnknownNumber && !is_known(call.name))
      numbers.push_back(static_cast<std::uint32_t>(call.number));
  return numbers;
}

void allow_if(const Filter& filter, const char* name, scmp_arg_cmp condition) {
  require(
      ::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, ::seccomp_syscall_resolve_name(name), 1, condition),
      name);
}

void add_rules(const Filter& filter) {
  for (const AllowedCall& call : allowed_calls()) {
    if (!is_known(call.name)) continue;
    require(::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, ::seccomp_syscall_resolve_name(call.name), 0),
            call.name);
  }
  for (const std::uint64_t persona : {0x0ull, 0x8ull, 0x20000ull, 0x20008ull, 0xffffffffull})
    allow_if(filter, "personality", SCMP_A0(SCMP_CMP_EQ, persona));
  allow_if(filter, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, kNamespaceFlags, 0));
  require(
      ::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), ::seccomp_syscall_resolve_name("clone3"), 0),
      "clone3");
  require(::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, ::seccomp_syscall_resolve_name("socket"), 0),
          "socket");
}

std::vector<sock_filter> export_program(const Filter& filter) {
  const UniqueFd file(::memfd_create("filter", MFD_CLOEXEC));
  if (!file) throw SystemError(errno, "create a file in memory");
  require(::seccomp_export_bpf(filter.get(), file.get()), "export");
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  std::vector<sock_filter> program(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (::pread(file.get(), program.data(), static_cast<std::size_t>(size), 0) != size)
    throw SystemError(errno, "read", "the filter");
  return program;
}

/// The numbers of one architecture, as far as the filter looks at them itself.
struct CallTable {
  std::uint32_t arch;
  std::uint32_t base;  ///< of all its numbers
  std::uint32_t end;   ///< above `base`: numbers from here on belong to another table
  std::uint32_t socket;
  std::uint32_t extra_first = 0;  ///< a second run of numbers far above the others; 0: none
  std::uint32_t extra_last = 0;
};

sock_filter load(std::size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}
sock_filter give_back(std::uint32_t verdict) { return BPF_STMT(BPF_RET | BPF_K, verdict); }
sock_filter jump(unsigned comparison, std::uint32_t value, std::size_t if_true, std::size_t if_false) {
  return BPF_JUMP(static_cast<std::uint16_t>(BPF_JMP | BPF_K | comparison), value,
                  static_cast<std::uint8_t>(if_true), static_cast<std::uint8_t>(if_false));
}

/// Calls newer than the profile do not exist, rather than being forbidden: programs then take their older
/// way, where EPERM would end them (SBX-92).
void refuse_unknown(std::vector<sock_filter>& out, const CallTable& table) {
  const std::uint32_t newest = table.base + kNewestKnownCall;
  if (table.extra_first == 0) {
    out.push_back(jump(BPF_JGT, newest, 0, 1));
    out.push_back(give_back(SECCOMP_RET_ERRNO | ENOSYS));
    return;
  }
  out.push_back(jump(BPF_JGT, newest, 0, 3));
  out.push_back(jump(BPF_JGT, table.base + table.extra_last, 1, 0));
  out.push_back(jump(BPF_JGE, table.base + table.extra_first, 1, 0));
  out.push_back(give_back(SECCOMP_RET_ERRNO | ENOSYS));
}

/// AF_ALG and AF_VSOCK (SBX-94). The kernel looks at the lower half of the argument only, so the rule must
/// too: one for all 64 bits could be walked round with something in the upper half.
void refuse_families(std::vector<sock_filter>& out, const CallTable& table) {
  out.push_back(jump(BPF_JEQ, table.base + table.socket, 0, 4));
  out.push_back(load(offsetof(seccomp_data, args)));
  out.push_back(jump(BPF_JEQ, AF_ALG, 1, 0));
  out.push_back(jump(BPF_JEQ, AF_VSOCK, 0, 1));
  out.push_back(give_back(SECCOMP_RET_ERRNO | EPERM));
}

/// What the library cannot say stands in front of what it makes, once for each table.
std::vector<sock_filter> own_rules(const CallTable& table) {
  std::vector<sock_filter> body;
  refuse_unknown(body, table);
  const auto by_number = calls_by_number();
  body.push_back(jump(BPF_JGE, table.base + kFirstCommonNumber, 0, 2 * by_number.size()));
  for (const std::uint32_t number : by_number) {
    body.push_back(jump(BPF_JEQ, table.base + number, 0, 1));
    body.push_back(give_back(SECCOMP_RET_ALLOW));
  }
  refuse_families(body, table);
  if (body.size() > 250) throw Error("the system call filter jumps too far");  // offsets have eight bits
  std::vector<sock_filter> rules = {
      load(offsetof(seccomp_data, arch)),       jump(BPF_JEQ, table.arch, 0, body.size() + 3),
      load(offsetof(seccomp_data, nr)),         jump(BPF_JGE, table.base, 0, body.size() + 1),
      jump(BPF_JGE, table.end, body.size(), 0),
  };
  // The last table's end is the largest number there is, which belongs to it.
  if (table.end == kNoEnd) rules.back() = jump(BPF_JGE, 0, 0, 0);
  rules.insert(rules.end(), body.begin(), body.end());
  return rules;
}

void append(std::vector<sock_filter>& program, const std::vector<sock_filter>& more) {
  program.insert(program.end(), more.begin(), more.end());
}

}  // namespace

std::vector<sock_filter> build_seccomp_filter() {
  const Filter filter(::seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!filter) throw SystemError(ENOMEM, "build the system call filter");
  std::vector<sock_filter> program;
#if defined(__x86_64__)
  require(::seccomp_arch_add(filter.get(), SCMP_ARCH_X86), "x86");
  require(::seccomp_arch_add(filter.get(), SCMP_ARCH_X32), "x32");
  append(program, own_rules({.arch = AUDIT_ARCH_X86_64, .base = 0, .end = kX32Bit, .socket = 41}));
  append(program, own_rules({.arch = AUDIT_ARCH_X86_64,
                             .base = kX32Bit,
                             .end = kNoEnd,
                             .socket = 41,
                             .extra_first = 512,
                             .extra_last = 547}));
  append(program, own_rules({.arch = AUDIT_ARCH_I386, .base = 0, .end = kNoEnd, .socket = 359}));
#elif defined(__aarch64__)
  require(::seccomp_arch_add(filter.get(), SCMP_ARCH_ARM), "arm");
  append(program, own_rules({.arch = AUDIT_ARCH_AARCH64, .base = 0, .end = kNoEnd, .socket = 198}));
  append(program, own_rules({.arch = AUDIT_ARCH_ARM, .base = 0, .end = kNoEnd, .socket = 281}));
#else
  throw UnsupportedError("there is no system call filter for this architecture");
#endif
  require(::seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM)),
          "unknown architectures");
  require(::seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "order");
  add_rules(filter);
  append(program, export_program(filter));
  if (program.size() > BPF_MAXINSNS) throw Error("the system call filter is too long");
  return program;
}

}  // namespace imgbuild::builder
