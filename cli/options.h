#pragma once

#include <optional>
#include <string>
#include <vector>

#include "builder/build.h"
#include "builder/run_support.h"
#include "cli/limit_options.h"
#include "cli/renderers.h"

namespace imgbuild::cli {

/// The environment as the process got it; read once, in main, and handed down.
struct Environment {
  std::vector<std::pair<std::string, std::string>> variables;
  std::optional<std::string> find(std::string_view name) const;
};

/// `imgbuild build`, parsed but with nothing opened yet.
/// How RUN is to run: what the options of the same names say.
struct RunOptions {
  std::string isolation = "auto";
  std::string snapshotter = "auto";
  bool no_process_sandbox = false;
  bool allow_disk_secrets = false;
};
/// Throws Error (usage) for words that are none.
builder::Isolation parse_isolation(const std::string& word);
builder::SnapshotterKind parse_snapshotter(const std::string& word);

struct BuildOptions {
  RunOptions run;
  std::string context = ".";
  std::string dockerfile;
  std::vector<std::string> tags, build_args, labels, build_contexts, outputs, secrets, ssh, allow,
      security_opts, add_hosts, ulimits, cdi_spec_dirs, dns, dns_search, dns_options;
  std::vector<std::string> no_cache_filter;
  std::string ca_bundle;
  std::string target, platform, network = "default", progress = "auto", iid_file, metadata_file, hostname;
  LimitOptions limits;
  std::string compression = "gzip", context_modes = "disk", durability, store_limit, call = "build", shm_size,
              cache_mount_owner = "root";
  std::optional<int> compression_level;
  std::optional<std::int64_t> source_date_epoch;
  std::size_t jobs = 0;
  std::size_t threads = 0;  ///< 0: one a processor
  bool no_cache = false, quiet = false, pull = false, stats = false, debug = false, check = false,
       allow_secret_leak = false, block_private_urls = false;
  std::optional<int> retry;
  std::string retry_delay;
  std::string explain;  ///< empty, "text" or "json"
};

/// Turns options into a request: parses names, outputs, platforms, reads secrets. Throws Error (usage) that
/// names the option and what it should look like.
builder::BuildRequest make_request(const BuildOptions& options, const Environment& environment);

/// One value of --output (EXP-1, EXP-2). Throws Error with "did you mean" for unknown keys and types.
builder::OutputSpec parse_output(const std::string& text);

/// `NAME=VALUE`, or NAME alone: taken from the environment, nothing when it is not set there (OPT-2).
std::optional<std::pair<std::string, std::string>> parse_build_arg(const std::string& text,
                                                                   const Environment& environment);

/// Bytes with an optional unit: `64m`, `1g`, `65536`. Throws Error.
std::uint64_t parse_size(const std::string& text, const std::string& option);

/// One CSV record: fields separated by commas, double quotes protect commas. Throws Error on a missing quote.
std::vector<std::string> split_csv(const std::string& text);

}  // namespace imgbuild::cli
