#include "cli/store_session.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "base/syncer.h"
#include "base/use_log.h"
#include "builder/cache_mounts.h"
#include "builder/event.h"
#include "builder/remote_sources.h"
#include "builder/run_support.h"
#include "builder/store/full_store.h"
#include "builder/store/store_root.h"
#include "builder/store_image_source.h"
#include "builder/work_area.h"
#include "cache/cache_store.h"
#include "cache/stat_memo.h"
#include "oci/disk_blob_store.h"
#include "oci/disk_image_store.h"
#include "oci/http.h"
#include "oci/pull.h"
#include "oci/registry.h"

namespace imgbuild::cli {

namespace {

oci::HttpOptions http_options(const StoreSession::Options& given, const Environment& environment) {
  oci::HttpOptions options;
  options.ca_pem = given.ca_pem;
  options.user_agent = cat("imgbuild/", IMGBUILD_VERSION);
  const auto first_of = [&](std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (const auto value = environment.find(name); value && !value->empty()) return *value;
    }
    return std::string();
  };
  options.http_proxy = first_of({"http_proxy"});  // HTTP_PROXY could come from a CGI request header
  options.https_proxy = first_of({"https_proxy", "HTTPS_PROXY"});
  options.no_proxy = first_of({"no_proxy", "NO_PROXY"});
  options.ca_file = first_of({"SSL_CERT_FILE"});
  options.ca_directory = first_of({"SSL_CERT_DIR"});
  return options;
}

/// The absolute path of the store, for programs that take paths only (git).
std::string work_path(const std::string& path) {
  if (path.starts_with('/')) return path;
  char buffer[4096];
  if (::getcwd(buffer, sizeof buffer) == nullptr) throw SystemError(errno, "find the current directory");
  return cat(buffer, "/", path);
}

builder::RemoteOptions remote_options(const StoreSession::Options& given, const StoreDir& store,
                                      const std::string& path, cache::HttpMemo& memo, oci::BlobStore& bodies,
                                      const Environment& environment) {
  builder::RemoteOptions options;
  const oci::HttpOptions http = http_options(given, environment);
  options.git.ca_pem = http.ca_pem;
  options.global_addresses_only = given.block_private_urls;
  options.git.http_proxy = http.http_proxy;
  options.git.https_proxy = http.https_proxy;
  options.git.no_proxy = http.no_proxy;
  options.git.ca_file = http.ca_file;
  options.git.ssh_socket = environment.find("SSH_AUTH_SOCK").value_or("");
  options.git.known_hosts = environment.find("IMGBUILD_SSH_KNOWN_HOSTS").value_or("");
  options.store_path = path;
  options.store = store;
  options.http_memo = &memo;
  options.http_bodies = &bodies;
  return options;
}

oci::RegistryOptions registry_options(const RetryPolicy& retries) {
  oci::RegistryOptions options;
  options.max_attempts = retries.count + 1;
  if (retries.delay) options.first_delay = options.longest_delay = *retries.delay;
  return options;
}

std::string read_resolv_conf() {
  const UniqueFd file(::open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC));
  return file ? read_file(file.get(), 64 * 1024, "/etc/resolv.conf") : std::string();
}

}  // namespace

std::string store_path(const std::string& option, const Environment& environment, bool is_root) {
  if (!option.empty()) return option;
  if (const auto root = environment.find("IMGBUILD_ROOT"); root && !root->empty()) return *root;
  if (is_root) return "/var/lib/imgbuild";
  if (const auto data = environment.find("XDG_DATA_HOME"); data && data->starts_with('/'))
    return cat(*data, "/imgbuild");
  if (const auto home = environment.find("HOME"); home && home->starts_with('/'))
    return cat(*home, "/.local/share/imgbuild");
  throw Error("where is the store? HOME is not set", ExitCode::usage)
      .with_note("name a directory with --root or IMGBUILD_ROOT");
}

/// In the order they must outlive one another.
struct StoreSession::Parts {
  Syncer syncer;
  builder::StoreRoot store;
  StoreDir dir;
  builder::StoreGuard guard;
  UseLog uses;
  ThreadPool pool;
  oci::DiskBlobStore blobs;
  oci::DiskImageStore images;
  std::unique_ptr<cache::CacheStore> cache;
  std::unique_ptr<cache::StatMemo> memo;
  std::unique_ptr<cache::HttpMemo> http_memo;
  oci::HttpClient http;
  oci::Registry registry;
  oci::ImagePuller puller;
  builder::StoreImageSource bases;
  builder::LayerIndexes indexes;
  builder::CacheMounts cache_mounts;
  std::string work_directory;
  builder::RemoteFetcher remote;
  builder::LazyRunSupport run;
  std::once_flag announced;
  builder::Host host;

  int root() const noexcept { return store.dir.get(); }
  Syncer* syncer_of(const Options& options) noexcept { return options.durable ? &syncer : nullptr; }

  Parts(const Options& options, const Environment& environment)
      : store(builder::open_store_root(options.path, options.stop)),
        dir(root()),
        guard(store, options.limits, options.stop),
        uses(root()),
        pool(options.threads != 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency())),
        blobs(dir, {.syncer = syncer_of(options),
                    .epoch = store.epoch,
                    .guard = &guard,
                    .leases = &store.locks,
                    .stop = options.stop}),
        images(dir, syncer_of(options), &uses),
        cache(cache::open_cache_store(dir, &uses)),
        memo(cache::open_stat_memo(dir)),
        http_memo(cache::open_http_memo(dir)),
        http(http_options(options, environment)),
        registry(http, registry_options(options.retries)),
        puller(registry, blobs, {.shared = dir}),
        bases(blobs, images, puller, options.pull, wall_clock_now, options.stop),
        indexes(dir, blobs, [this](const oci::LayerBlob& layer) { bases.fetch({layer}); }),
        cache_mounts(dir, &uses),
        work_directory(work_path(options.path)),
        remote(http, *memo, &pool, wall_clock_now,
               remote_options(options, dir, work_directory, *http_memo, blobs, environment)),
        run({.store = dir,
             .epoch = store.epoch,
             .syncer = syncer_of(options),
             .uses = &uses,
             .read_only = store.read_only,
             .tier = options.with_sandbox ? options.tier.report : builder::TierReport(),
             .environment = options.tier.environment,
             .real_uid = options.tier.real_uid,
             .isolation = parse_isolation(options.run.isolation),
             .snapshotter = parse_snapshotter(options.run.snapshotter),
             .shared_processes = options.run.no_process_sandbox,
             .allow_disk_secrets = options.run.allow_disk_secrets},
            blobs, indexes),
        host{.blobs = blobs,
             .images = images,
             .cache = *cache,
             .memo = *memo,
             .indexes = indexes,
             .bases = bases,
             .cache_mounts = cache_mounts,
             .remote = remote,
             .pool = pool,
             .syncer = syncer_of(options),
             .run = [this]() -> const builder::RunSupport& { return run.get(); },
             .run_is_doubtful = run.is_doubtful(),
             .announce_run = [this](builder::EventSink& events) { announce(events); },
             .store = dir,
             .store_epoch = store.epoch,
             .resolv_conf = read_resolv_conf(),
             .clock = wall_clock_now} {
    dir.set_waiting(options.stop, options.on_wait);
    // What killed processes left (STO-30).
    if (options.with_sandbox && !store.read_only) builder::sweep_stale_work(dir);
  }

  void announce(builder::EventSink& events) {
    std::call_once(announced, [&] {
      const auto& support = run.get();
      events.on_event(builder::Noted{run_support_line(support), true});
      for (const auto& blocker : support.blockers)
        events.on_event(builder::Noted{cat("no ", tier_name(blocker.tier), ": ", blocker.text())});
      if (!support.apparmor.reason.empty())
        events.on_event(builder::Noted{cat("no AppArmor profile for RUN: ", support.apparmor.reason)});
    });
  }
};

StoreSession::StoreSession(const Options& options, const Environment& environment) try
    : parts_(std::make_unique<Parts>(options, environment)) {
} catch (const SystemError& error) {
  const UniqueFd store(::open(options.path.c_str(), O_PATH | O_CLOEXEC));
  if (const auto full = builder::full_store(error, store.get())) throw *full;
  throw;
}

StoreSession::~StoreSession() { parts_->uses.save(wall_clock_now()); }

builder::Host& StoreSession::host() noexcept { return parts_->host; }

std::optional<std::uint64_t> StoreSession::above_limit() {
  parts_->uses.save(wall_clock_now());  // so that what this build used is not taken for what nobody uses
  return parts_->guard.check_limit();
}

int StoreSession::root_fd() const noexcept { return parts_->root(); }

}  // namespace imgbuild::cli
