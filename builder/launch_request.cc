#include "builder/launch_request.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/secret_bytes.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

}  // namespace

std::vector<std::string> program_candidates(const std::string& command, const std::vector<std::string>& env) {
  if (command.find('/') != std::string::npos) return {command};
  std::string_view path = kDefaultPath;
  for (const auto& entry : env)
    if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
  std::vector<std::string> out;
  if (command.empty()) return out;
  for (const auto dir : split(path, ':'))
    out.push_back(dir.empty() ? cat("./", command) : cat(dir, "/", command));
  return out;
}

std::uint32_t ulimit_resource(const std::string& name) {
  static constexpr struct {
    std::string_view name;
    std::uint32_t resource;
  } kKnown[] = {{"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
                {"data", RLIMIT_DATA},         {"fsize", RLIMIT_FSIZE},
                {"locks", RLIMIT_LOCKS},       {"memlock", RLIMIT_MEMLOCK},
                {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
                {"nofile", RLIMIT_NOFILE},     {"nproc", RLIMIT_NPROC},
                {"rss", RLIMIT_RSS},           {"rtprio", RLIMIT_RTPRIO},
                {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
                {"stack", RLIMIT_STACK}};
  for (const auto& known : kKnown)
    if (known.name == name) return known.resource;
  throw Error(cat("invalid ulimit type: ", printable(name)));
}

LaunchRequestBuilder::LaunchRequestBuilder() : bytes_(sizeof(launch::LaunchRequest), '\0') {}

std::uint32_t LaunchRequestBuilder::add_string(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) throw Error(cat("a NUL byte in ", printable(text)));
  const std::size_t offset = bytes_.size();
  if (offset + text.size() >= (std::size_t{1} << 31))
    throw Error("the command and its environment are too large");
  bytes_ += text;
  bytes_ += '\0';
  return static_cast<std::uint32_t>(offset);
}

std::vector<std::uint32_t> LaunchRequestBuilder::add_strings(const std::vector<std::string>& texts) {
  std::vector<std::uint32_t> offsets;
  offsets.reserve(texts.size());
  for (const auto& text : texts) offsets.push_back(add_string(text));
  return offsets;
}

void LaunchRequestBuilder::set_command(const SandboxSpec& spec) {
  request_.uid = spec.uid;
  request_.gid = spec.gid;
  groups_ = spec.extra_gids;
  argv_ = add_strings(spec.argv);
  env_ = add_strings(spec.env);
  programs_ = add_strings(program_candidates(spec.argv.front(), spec.env));
  for (const Ulimit& limit : spec.ulimits) {
    if (limit.soft > limit.hard)
      throw Error(cat("ulimit ", printable(limit.name), ": the soft limit ", limit.soft,
                      " is above the hard limit ", limit.hard));
    limits_.push_back({ulimit_resource(limit.name), add_string(limit.name), limit.soft, limit.hard});
  }
  request_.hostname = add_string(spec.hostname);
  request_.working_dir = add_string(spec.working_dir);
  request_.new_network = spec.network == SandboxSpec::Network::none ? 1 : 0;
  request_.insecure = spec.insecure ? 1 : 0;
  request_.shm_size = spec.shm_size_bytes;
}

template <typename Items>
launch::Range LaunchRequestBuilder::append(const Items& items) {
  bytes_.resize((bytes_.size() + 7) / 8 * 8, '\0');
  const launch::Range range{static_cast<std::uint32_t>(bytes_.size()),
                            static_cast<std::uint32_t>(items.size())};
  if (!items.empty())
    bytes_.append(reinterpret_cast<const char*>(items.data()), items.size() * sizeof *items.data());
  return range;
}

UniqueFd LaunchRequestBuilder::finish() {
  request_.groups = append(groups_);
  request_.argv = append(argv_);
  request_.env = append(env_);
  request_.programs = append(programs_);
  request_.mounts = append(mounts_);
  request_.limits = append(limits_);
  request_.filter = append(filter_);
  request_.cgroups = append(cgroups_);
  request_.processors = append(processors_);
  bytes_ += '\0';
  request_.size = static_cast<std::uint32_t>(bytes_.size());
  std::memcpy(bytes_.data(), &request_, sizeof request_);

  UniqueFd file(::memfd_create("launch", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) throw SystemError(errno, "create a file in memory");
  write_all(file.get(), bytes_, "launch request");
  wipe(bytes_);  // secrets may be among the variables
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    throw SystemError(errno, "seal", "launch request");
  return file;
}

}  // namespace imgbuild::builder
