#include "builder/build_inputs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/strings.h"
#include "builder/build_context.h"
#include "builder/dockerfile_location.h"
#include "builder/remote_context.h"
#include "oci/http_url.h"
#include "parser/git_reference.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxDockerfile = std::uint64_t{16} << 20;

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

[[noreturn]] void refuse_context(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) {
    Error failure(cat("the build context ", printable(path), " is a file, not a directory"), ExitCode::usage);
    failure.add_note(cat("to name a Dockerfile use -f: imgbuild -f ", printable(path), " DIRECTORY"));
    throw failure;
  }
  Error failure(cat("the build context ", printable(path), " cannot be used"), ExitCode::usage);
  failure.add_note(SystemError(errno, "open", path).message());
  throw failure;
}

std::string absolute_path(const std::string& path) {
  if (path.starts_with('/')) return path;
  char buffer[4096];
  if (::getcwd(buffer, sizeof buffer) == nullptr) throw SystemError(errno, "find the current directory");
  return cat(buffer, "/", path);
}

void load_local(BuildInputs& inputs, const BuildRequest& request, Host& host, const std::stop_token& stop) {
  ContextOptions options;
  options.stop = stop;
  if (request.git_modes) options.modes = ContextModes::git;
  std::string dockerfile;  // absolute, for the ignore file beside it
  if (request.dockerfile == "-") {
    const UniqueFd file = open_path(request.stdin_content, O_RDONLY);
    inputs.dockerfile_text =
        std::make_shared<SourceText>("Dockerfile", read_file(file.get(), kMaxDockerfile, "standard input"));
  } else if (request.dockerfile.empty()) {
    inputs.dockerfile_text = read_dockerfile(request.context, "Dockerfile", PathTrust::trusted);
    dockerfile = "Dockerfile";
  } else {
    // `-f` is relative to the current directory, as docker's client has it, not to the context.
    inputs.dockerfile_text = read_dockerfile(".", request.dockerfile, PathTrust::trusted);
    dockerfile = absolute_path(request.dockerfile);
  }
  if (const auto file = find_ignore_file(request.context, dockerfile, PathTrust::trusted)) {
    inputs.ignore = parser::IgnoreMatcher::parse(file);
    inputs.ignore_name = file->name();
    options.ignore_name = file->name();
  }
  inputs.context =
      open_build_context(request.context, inputs.ignore, host.memo, &host.pool, host.clock, options);
}

}  // namespace

BuildInputs load_inputs(const BuildRequest& request, Host& host, std::stop_token stop) {
  BuildInputs inputs;
  if (request.context != "-" && is_directory(request.context)) {
    load_local(inputs, request, host, stop);
  } else if (request.context == "-" || oci::is_http(request.context) ||
             parser::parse_git_reference(request.context)) {
    load_remote_inputs(inputs, request, host, stop);
  } else {
    refuse_context(request.context);
  }
  return inputs;
}

EvaluateOptions evaluate_options(const BuildRequest& request, const BuildInputs& inputs) {
  EvaluateOptions options;
  options.target = request.target;
  options.build_args = request.build_args;
  if (request.timestamp) options.build_args.emplace_back("SOURCE_DATE_EPOCH", cat(*request.timestamp));
  options.labels = request.labels;
  options.build_platform = request.build_platform;
  options.target_platform = request.platform;
  options.platform_given = request.platform_given;
  if (!request.no_cache_stages.empty()) options.no_cache = request.no_cache_stages;
  options.hostname = request.hostname;
  options.default_network = request.default_network;
  for (const auto& context : request.named_contexts) options.named_contexts.push_back(context.name);
  options.allow_network_host = request.allow_network_host;
  options.allow_insecure = request.allow_insecure;
  options.allowed_devices = request.allowed_devices;
  options.ignore = &inputs.ignore;
  options.ignore_name = inputs.ignore_name;
  options.context_time = inputs.context_time;
  return options;
}

}  // namespace imgbuild::builder
