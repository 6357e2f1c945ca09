// Prints the profile of RUN as the "seccomp" section of an OCI runtime configuration: it is Docker's default,
// so a runtime given this makes the containers that imgbuild is run in by most people
// (tests/integration/tiers_test.py).
#include <cerrno>
#include <cstdio>
#include <string>

#include "builder/seccomp_names.h"

int main() {
  std::string names;
  for (const auto& call : imgbuild::builder::allowed_calls()) {
    if (!names.empty()) names += ",";
    names += "\"" + std::string(call.name) + "\"";
  }
  std::printf(
      "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":1,"
      "\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],\"syscalls\":["
      "{\"names\":[%s],\"action\":\"SCMP_ACT_ALLOW\"},"
      "{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":2114060288,"
      "\"valueTwo\":0,"
      "\"op\":\"SCMP_CMP_MASKED_EQ\"}]},"
      "{\"names\":[\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38},"
      "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":0,"
      "\"op\":\"SCMP_CMP_EQ\"}]},"
      "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":38,\"op\":"
      "\"SCMP_CMP_LT\"}]},"
      "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":39,\"op\":"
      "\"SCMP_CMP_EQ\"}]},"
      "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":40,\"op\":"
      "\"SCMP_CMP_GT\"}]}"
      "]}\n",
      names.c_str());
  return std::fflush(stdout) == 0 ? 0 : 1;
}
