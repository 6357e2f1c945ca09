#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/compress.h"
#include "builder/event.h"
#include "builder/host.h"
#include "builder/output_limit.h"
#include "builder/outputs.h"
#include "builder/private_network.h"
#include "builder/resolv_conf.h"
#include "builder/resource_limits.h"
#include "builder/secrets.h"
#include "oci/descriptor.h"
#include "oci/platform.h"
#include "oci/reference.h"

namespace imgbuild::builder {

/// Where a named context comes from, as written: `--build-context name=value`.
struct NamedContext {
  std::string name;
  std::string value;
};

/// Certificates of --ca-bundle, in PEM; empty: none. `system`: those the builder's machine trusts by itself.
struct CaBundle {
  std::string pem;
  std::string system;
  /// Both, for the builder's own connections; empty without the option.
  std::string all() const {
    return pem.empty() ? pem : system.empty() || system.ends_with('\n') ? system + pem : system + '\n' + pem;
  }
};

/// What to build. Plain data; the command line fills it.
struct BuildRequest {
  std::string context = ".";          ///< directory, "-" (stdin_content), git reference or URL
  std::string stdin_content;          ///< path of a file that holds what came on standard input
  std::string dockerfile;             ///< empty: Dockerfile in the context; "-": standard input
  std::optional<std::string> target;  ///< default: the last stage
  std::vector<std::pair<std::string, std::string>> build_args;
  std::vector<std::pair<std::string, std::string>> labels;
  std::vector<NamedContext> named_contexts;
  std::vector<oci::Reference> tags;
  std::vector<OutputSpec> outputs;
  oci::Platform platform = oci::Platform::host();
  oci::Platform build_platform = oci::Platform::host();
  bool platform_given = false;
  Compression compression;
  std::size_t jobs = 0;  ///< steps at once; 0: chosen from the number of processors
  bool use_cache = true;
  bool explain = false;                      ///< say for each missed step what differs from its last record
  std::vector<std::string> no_cache_stages;  ///< --no-cache-filter
  std::optional<std::int64_t> timestamp;     ///< SOURCE_DATE_EPOCH from the command line
  std::string default_network = "default";   ///< default, host, none, private or ns; part of a RUN's key
  std::string network_namespace;             ///< ns: path of the namespace
  std::optional<NetworkProgram> network_program;  ///< private: which; nothing: whichever is installed
  DnsOptions dns;
  bool allow_network_host = true;
  bool allow_insecure = false;
  bool filter_calls = true;  ///< false: --security-opt seccomp=unconfined; then part of every RUN's key
  std::vector<std::string> allowed_devices;  ///< --allow device=NAME; "*": all (RUN-23)
  std::vector<std::string> cdi_spec_dirs = {"/etc/cdi", "/var/run/cdi"};  ///< where devices are described
  bool cache_mounts_of_user = false;  ///< --cache-mount-owner=user (docs/adr/0004-owner-of-cache-mounts.md)
  std::vector<std::pair<std::string, std::string>> extra_hosts;  ///< name, address or "host-gateway"
  std::string hostname;
  std::uint64_t shm_size_bytes = 64ull << 20;
  std::vector<Ulimit> ulimits;  ///< of every RUN; part of its key (CAC-13)
  ResourceLimits limits;        ///< of every RUN; no part of its key: they change no result (CAC-13)
  std::optional<std::chrono::nanoseconds> step_timeout;  ///< of every RUN
  OutputLimits output_limits;                            ///< of every RUN
  bool git_modes = false;                                ///< --context-modes=git
  SecretStore secrets;
  CaBundle ca_bundle;  ///< trusted in RUN; part of no key
};

/// What happened, for the report, `--stats` and `--metadata-file`.
struct BuildStats {
  std::size_t steps_run = 0;
  std::size_t steps_cached = 0;
  std::uint64_t context_files_listed = 0;
  std::uint64_t context_dirs_opened = 0;
  std::uint64_t context_bytes_read = 0;
  std::uint64_t context_digests_remembered = 0;
  std::uint64_t layer_bytes_written = 0;                      ///< compressed, new layers only
  std::vector<std::pair<std::string, ResourceUse>> commands;  ///< each RUN that ran, by its label
  std::uint64_t syncs = 0;  ///< calls that put bytes on the disk for certain (--durability=safe)
  std::chrono::nanoseconds sync_time{0};
  std::uint64_t layer_bytes_reused = 0;  ///< of these, taken from an earlier layer as they were
  std::vector<std::pair<std::string, std::chrono::nanoseconds>> phases;
};

struct BuildResult {
  std::optional<oci::Descriptor> image;  ///< manifest of the image; nothing for rootfs-only outputs
  Digest config_digest = Digest::from_bytes({});
  std::vector<oci::Reference> tags;
  BuildStats stats;
};

/// The whole program: reads the Dockerfile, plans, runs what has to run, assembles the image, writes the
/// outputs. Reports through `events` and nothing else. Throws Error (located in the Dockerfile where it can
/// be), or Cancelled when `stop` was requested; then nothing it started is alive and nothing half-made is
/// visible.
BuildResult build(const BuildRequest& request, Host& host, EventSink& events, std::stop_token stop);

}  // namespace imgbuild::builder
