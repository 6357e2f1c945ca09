#include "builder/build.h"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "cli/build_log.h"
#include "cli/build_report.h"
#include "cli/checks.h"
#include "cli/commands/commands.h"
#include "cli/config.h"
#include "cli/options.h"
#include "cli/renderers.h"
#include "cli/signals.h"
#include "cli/store_session.h"
#include "cli/tier.h"

namespace imgbuild::cli {

namespace {

ProgressMode progress_mode(const BuildOptions& options) {
  if (options.quiet) return ProgressMode::quiet;
  if (options.progress == "auto" || options.progress == "plain") return ProgressMode::plain;
  if (options.progress == "json" || options.progress == "rawjson") return ProgressMode::json;
  if (options.progress == "quiet") return ProgressMode::quiet;
  throw Error(cat("--progress is auto, plain, json or quiet, not \"", printable(options.progress), "\""),
              ExitCode::usage);
}

/// Standard input, kept in a file, when the context or the Dockerfile is `-`.
class StandardInput {
 public:
  StandardInput(const BuildOptions& options, const Environment& environment) {
    if (options.context != "-" && options.dockerfile != "-") return;
    if (options.context == "-" && options.dockerfile == "-") {
      throw Error("the context and the Dockerfile cannot both come from standard input", ExitCode::usage);
    }
    directory_.emplace(TempDir::create(environment.find("TMPDIR").value_or("/tmp"), "imgbuild-"));
    FileSink file(open_at(directory_->fd(), "stdin", O_WRONLY | O_CREAT | O_EXCL, 0600), "standard input");
    FileSource input(UniqueFd(::dup(STDIN_FILENO)), "standard input");
    if (copy(input, file) == 0) throw Error("standard input is empty", ExitCode::usage);
    path_ = cat("/proc/self/fd/", directory_->fd(), "/stdin");
  }
  const std::string& path() const noexcept { return path_; }

 private:
  std::optional<TempDir> directory_;
  std::string path_;
};

void write_text(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  write_all(file.fd(), text, path);
  file.commit();
}

void report(const BuildOptions& options, const builder::BuildRequest& request,
            const builder::BuildResult& result) {
  if (!options.iid_file.empty()) {
    write_text(options.iid_file, result.image ? result.config_digest.str() : std::string());
  }
  if (!options.metadata_file.empty()) write_text(options.metadata_file, metadata_json(result));
  const bool stdout_taken = std::any_of(request.outputs.begin(), request.outputs.end(),
                                        [](const auto& output) { return output.destination == "-"; });
  std::ostream& out = stdout_taken ? std::cerr : std::cout;
  if (options.quiet && result.image) {
    out << result.config_digest.str() << "\n";
  } else if (result.image) {
    out << result.image->digest.str() << "\n";
  }
  // Who asked for the digest and cannot get it must not believe that all is well.
  if (!stdout_taken && !out.flush()) throw SystemError(errno, "write", "standard output");
  if (options.stats) std::cerr << stats_text(result.stats);
}

bool is_durable(const BuildOptions& options, const Config& config) {
  const std::string durability =
      options.durability.empty() ? config.durability.value_or("fast") : options.durability;
  if (durability == "safe") return true;
  if (durability == "fast") return false;
  throw Error(cat("--durability is fast or safe, not \"", printable(durability), "\""), ExitCode::usage);
}

builder::StoreLimits store_limits(const BuildOptions& options, const Config& config) {
  builder::StoreLimits limits{config.store_limit_bytes, config.min_free_bytes};
  if (!options.store_limit.empty()) limits.store_bytes = parse_size(options.store_limit, "--store-limit");
  return limits;
}

RetryPolicy retry_policy(const BuildOptions& options) {
  RetryPolicy policy;
  if (options.retry) policy.count = *options.retry;
  if (!options.retry_delay.empty())
    policy.delay =
        std::chrono::ceil<std::chrono::milliseconds>(parse_duration(options.retry_delay, "--retry-delay"));
  return policy;
}

/// The limit is for what can be removed; what has a name or is in use stays, and somebody should know.
void warn_above_limit(StoreSession& session, const builder::StoreLimits& limits, builder::EventSink& events) {
  const auto takes = session.above_limit();
  if (!takes) return;
  events.on_event(
      builder::Warned{{},
                      cat("the store takes ", human_size(*takes), ", above its limit of ",
                          human_size(*limits.store_bytes), ": what is left has a name or is in use"),
                      {},
                      {}});
}

int run_build(const CommandContext& context, const BuildOptions& options) {
  const std::string call = options.check ? "check" : options.call;
  if (call != "build") return run_call(call, options, context);

  static_cast<void>(parse_snapshotter(options.run.snapshotter));
  const TierChoice tier = enter_best_tier(parse_isolation(options.run.isolation),
                                          options.run.no_process_sandbox);  // before any thread exists
  SignalWatcher signals;
  const StandardInput input(options, context.environment);
  builder::BuildRequest request = make_request(options, context.environment);
  request.stdin_content = input.path();
  const Config config = load_config(context.environment, tier.real_uid == 0);
  const builder::StoreLimits limits = store_limits(options, config);
  const auto events =
      make_renderer(progress_mode(options), STDERR_FILENO, ::isatty(STDERR_FILENO) == 1, options.debug);
  StoreSession session({.path = store_path(context.root, context.environment, tier.real_uid == 0),
                        .tier = tier,
                        .run = options.run,
                        .with_sandbox = true,
                        .ca_pem = request.ca_bundle.all(),
                        .block_private_urls = options.block_private_urls,
                        .pull = options.pull,
                        .retries = retry_policy(options),
                        .threads = options.threads,
                        .stdout_fd = STDOUT_FILENO,
                        .durable = is_durable(options, config),
                        .limits = limits,
                        .stop = signals.token(),
                        .on_wait =
                            [&events](const std::string& what, pid_t owner) {
                              events->on_event(builder::Waiting{{}, what, owner});
                            }},
                       context.environment);
  BuildLog log(*events, STDERR_FILENO, options.explain == "json", request.git_modes);
  try {
    const auto result = builder::build(request, session.host(), log, signals.token());
    log.save(session.host().store);
    warn_above_limit(session, limits, *events);
    report(options, request, result);
    return 0;
  } catch (const Cancelled&) {
    std::cerr << "cancelled\n";
    return 128 + signals.signal();  // as shells say it: 130, 143 or 129 (FLT-21)
  } catch (const Error&) {
    log.save(session.host().store);
    throw;
  }
}

void add_network_options(CLI::App& command, BuildOptions& o) {
  command
      .add_option("--network", o.network,
                  "Network of RUN: default, host, none, private, pasta, slirp4netns or ns:PATH")
      ->capture_default_str();
  command
      .add_option("--add-host", o.add_hosts,
                  "NAME=ADDRESS or NAME=host-gateway for /etc/hosts in RUN; may repeat")
      ->allow_extra_args(false);
  command.add_option("--dns", o.dns, "Name server for RUN, an IP address; may repeat")
      ->allow_extra_args(false);
  command.add_option("--dns-search", o.dns_search, "Search domain for RUN, . for none; may repeat")
      ->allow_extra_args(false);
  command.add_option("--dns-option,--dns-opt", o.dns_options, "Resolver option for RUN; may repeat")
      ->allow_extra_args(false);
}

void add_sandbox_options(CLI::App& command, RunOptions& o) {
  command.add_option("--isolation", o.isolation, "Isolation of RUN: auto, full (namespaces) or chroot")
      ->capture_default_str();
  command
      .add_option("--snapshotter", o.snapshotter,
                  "File systems of RUN: auto, overlay, fuse-overlayfs or copy")
      ->capture_default_str();
  command.add_flag("--no-process-sandbox", o.no_process_sandbox,
                   "Let RUN see the processes around it, where a new /proc cannot be mounted");
  command.add_flag("--allow-disk-secrets", o.allow_disk_secrets,
                   "With chroot isolation: secret files may touch a disk while a RUN uses them");
}

void add_options(CLI::App& command, BuildOptions& o) {
  add_sandbox_options(command, o.run);
  command.add_option("CONTEXT", o.context, "Directory, git reference, URL, or - for standard input")
      ->capture_default_str();
  command.add_option("-f,--file", o.dockerfile,
                     "Dockerfile (default: CONTEXT/Dockerfile; - for standard input)");
  command.add_option("-t,--tag", o.tags, "Name of the image, NAME[:TAG]; may repeat")
      ->allow_extra_args(false);
  command.add_option("--target", o.target, "Stage to build (default: the last one)");
  command.add_option("--build-arg", o.build_args, "NAME=VALUE, or NAME to take it from the environment")
      ->allow_extra_args(false);
  command.add_option("--label", o.labels, "NAME=VALUE; may repeat")->allow_extra_args(false);
  command
      .add_option("--build-context", o.build_contexts,
                  "NAME=DIRECTORY|oci-layout://…|docker-image://…|git or http URL")
      ->allow_extra_args(false);
  command
      .add_option("-o,--output", o.outputs,
                  "app.tar, a folder, -, or type=oci|docker|tar|local|image|cacheonly,dest=PATH")
      ->allow_extra_args(false);
  command.add_option("--platform", o.platform, "os/arch[/variant] to build for");
  command.add_option("--secret", o.secrets, "id=NAME[,src=FILE|,env=NAME|,command=TEXT]; may repeat")
      ->allow_extra_args(false);
  command.add_option("--ssh", o.ssh, "default, ID=SOCKET or ID=KEY[,KEY…]; may repeat")
      ->allow_extra_args(false);
  command.add_option("--ca-bundle", o.ca_bundle,
                     "PEM file of certificates to trust in RUN and for registries, ADD and git");
  command.add_flag("--block-private-urls", o.block_private_urls,
                   "Let ADD reach public addresses only, at every redirect");
  command.add_flag("--allow-secret-leak", o.allow_secret_leak,
                   "Let a secret's bytes into layers, configuration and output");
  add_network_options(command, o);
  command
      .add_option("--allow", o.allow,
                  "Rights the Dockerfile may use: network.host, security.insecure, device[=NAME]")
      ->allow_extra_args(false);
  command
      .add_option("--security-opt", o.security_opts,
                  "seccomp=unconfined: run commands without the system call filter")
      ->allow_extra_args(false);
  command.add_option("--ulimit", o.ulimits, "Limit of every RUN: NAME=SOFT[:HARD], such as nofile=1024:2048")
      ->allow_extra_args(false);
  command.add_option("--shm-size", o.shm_size, "Size of /dev/shm in RUN (default 64m)");
  add_limit_options(command, o.limits);
  command.add_option("--hostname", o.hostname, "Host name in RUN");
  command
      .add_option("--cdi-spec-dir", o.cdi_spec_dirs,
                  "Directory of CDI files for RUN --device (default: /etc/cdi and /var/run/cdi); may repeat")
      ->allow_extra_args(false);
  command
      .add_option("--cache-mount-owner", o.cache_mount_owner,
                  "Whose cache mounts without uid and gid are: root, or user for the USER of the step")
      ->capture_default_str();
  command.add_flag("--no-cache", o.no_cache, "Run every step again");
  command
      .add_option("--no-cache-filter", o.no_cache_filter,
                  "Stages whose steps run again; may repeat or be a comma list")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_flag("--pull", o.pull, "Ask the registry for base images even when the store has them");
  command
      .add_option("--retry", o.retry,
                  "How often a request to a registry that failed is sent again (default 4)")
      ->check(CLI::Range(0, 100));
  command.add_option("--retry-delay", o.retry_delay,
                     "Time between two of them, such as 5s (default: 1s, doubled each time)");
  command.add_option("--compression", o.compression, "gzip, zstd or uncompressed")->capture_default_str();
  command.add_option("--compression-level", o.compression_level, "gzip 0-9, zstd 0-22");
  command.add_option("--context-modes", o.context_modes, "disk: modes as they are; git: 0644 and 0755")
      ->capture_default_str();
  command.add_option(
      "--durability", o.durability,
      "fast: nothing is synced (default); safe: what the build made is on the disk when it ends");
  command.add_option("--store-limit", o.store_limit,
                     "Most the store may take, such as 20g; what was not used for longest goes");
  command.add_option("--source-date-epoch", o.source_date_epoch,
                     "Seconds since 1970 for all times in the image");
  command.add_option("-j,--jobs", o.jobs, "Steps at once (default: by processors)");
  command
      .add_option(
          "--threads", o.threads,
          "Threads that read, hash and compress, 1 to 256 (default: one a processor); they change no bytes")
      ->check(CLI::Range(1, 256));
  command.add_option("--progress", o.progress, "auto, plain, json or quiet")->capture_default_str();
  command.add_flag("-q,--quiet", o.quiet, "Print the image ID only");
  command.add_option("--iidfile", o.iid_file, "Write the image ID to this file");
  command.add_option("--metadata-file", o.metadata_file, "Write digests and names as JSON to this file");
  command.add_flag("--stats", o.stats, "Print times, files and bytes of each part");
  command.add_flag(
      "--explain{text}", o.explain,
      "Say in one line why each step that runs was not taken from the cache; --explain=json for machines");
  command.add_flag("--debug", o.debug, "Print why things were decided");
  command.add_flag("--check", o.check, "Check the Dockerfile, build nothing (--call=check)");
  command
      .add_option("--call", o.call,
                  "build, check, outline, targets or subrequests.describe; ,format=json for machines")
      ->capture_default_str();
}

}  // namespace

std::string add_build_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("build", "Build an image from a Dockerfile.");
  auto options = std::make_shared<BuildOptions>();
  add_options(*command, *options);
  command->add_option("--root", context.root, "Directory of the store");
  command->callback(
      [=, &context, &chosen] { chosen = [=, &context] { return run_build(context, *options); }; });
  return "build";
}

}  // namespace imgbuild::cli
