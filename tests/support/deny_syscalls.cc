// deny-syscalls ERROR NAME,NAME… PROGRAM [ARGUMENT…]: runs a program for which these system calls fail with
// ENOSYS or EPERM, whatever they are asked, as an old kernel or the filter of an outer container would have
// it.
#include <seccomp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("usage: deny-syscalls ENOSYS|EPERM NAME,NAME... PROGRAM [ARGUMENT...]\n", stderr);
    return 125;
  }
  const unsigned error_number = std::strcmp(argv[1], "EPERM") == 0 ? EPERM : ENOSYS;
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);  // sudo inside shall work as it would without us
  const std::string names = argv[2];
  for (std::size_t start = 0; start <= names.size();) {
    const std::size_t end = std::min(names.find(',', start), names.size());
    const std::string name = names.substr(start, end - start);
    const int number = seccomp_syscall_resolve_name(name.c_str());
    if (number == __NR_SCMP_ERROR || seccomp_rule_add(filter, SCMP_ACT_ERRNO(error_number), number, 0) != 0) {
      std::fprintf(stderr, "deny-syscalls: cannot deny \"%s\"\n", name.c_str());
      return 125;
    }
    start = end + 1;
  }
  if (seccomp_load(filter) != 0) {
    std::perror("deny-syscalls: load");
    return 125;
  }
  seccomp_release(filter);
  ::execvp(argv[3], argv + 3);
  std::perror(argv[3]);
  return 125;
}
