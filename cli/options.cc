#include "cli/options.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "cli/ca_option.h"
#include "cli/network_options.h"
#include "cli/secret_options.h"
#include "cli/usage.h"

namespace imgbuild::cli {

namespace {

std::pair<std::string, std::string> split_pair(const std::string& text, const std::string& option) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw usage(cat(option, " wants NAME=VALUE, not \"", printable(text), "\""));
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::uint64_t parse_limit(std::string_view text, const std::string& whole) {
  if (text == "-1" || text == "unlimited") return ~std::uint64_t{0};
  const auto number = parse_decimal(text);
  if (!number)
    throw usage(
        cat("--ulimit wants NAME=SOFT[:HARD] with numbers or unlimited, not \"", printable(whole), "\""));
  return *number;
}

/// `nofile=1024:2048`; one number is both limits, as docker has it.
builder::Ulimit parse_ulimit(const std::string& text) {
  static constexpr std::string_view kNames[] = {"core",    "cpu",      "data",   "fsize",      "locks",
                                                "memlock", "msgqueue", "nice",   "nofile",     "nproc",
                                                "rss",     "rtprio",   "rttime", "sigpending", "stack"};
  const auto [name, limits] = split_pair(text, "--ulimit");
  if (std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames)) {
    throw usage(cat("--ulimit: unknown limit \"", printable(name), "\""))
        .with_note(
            "known: core, cpu, data, fsize, locks, memlock, "
            "msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack");
  }
  const auto colon = limits.find(':');
  builder::Ulimit out{.name = name, .soft = parse_limit(std::string_view(limits).substr(0, colon), text)};
  out.hard =
      colon == std::string::npos ? out.soft : parse_limit(std::string_view(limits).substr(colon + 1), text);
  if (out.soft > out.hard)
    throw usage(cat("--ulimit: the soft limit is above the hard limit in \"", printable(text), "\""));
  return out;
}

Compression parse_compression(const BuildOptions& options) {
  Compression out;
  if (options.compression == "gzip")
    out.kind = CompressionKind::gzip;
  else if (options.compression == "zstd")
    out.kind = CompressionKind::zstd;
  else if (options.compression == "uncompressed" || options.compression == "none")
    out.kind = CompressionKind::none;
  else {
    throw usage(
        cat("--compression is gzip, zstd or uncompressed, not \"", printable(options.compression), "\""));
  }
  if (options.compression_level) {
    const int most = out.kind == CompressionKind::zstd ? 22 : 9;
    if (*options.compression_level < 0 || *options.compression_level > most) {
      throw usage(cat("--compression-level of ", options.compression, " goes from 0 to ", most));
    }
    out.level = *options.compression_level;
  }
  return out;
}

void apply_allow(const std::vector<std::string>& allowed, builder::BuildRequest& request) {
  for (const auto& word : allowed) {
    if (word == "network.host")
      request.allow_network_host = true;
    else if (word == "security.insecure")
      request.allow_insecure = true;
    else if (word == "device")
      request.allowed_devices.push_back("*");
    else if (word.starts_with("device=") && word.size() > 7)
      request.allowed_devices.push_back(word.substr(7));
    else
      throw usage(cat("--allow knows network.host, security.insecure, device and device=NAME, not \"",
                      printable(word), "\""));
  }
}

void apply_security(const std::vector<std::string>& options, builder::BuildRequest& request) {
  for (const auto& text : options) {
    if (text != "seccomp=unconfined")
      throw usage(cat("--security-opt knows seccomp=unconfined, not \"", printable(text), "\""));
    request.filter_calls = false;
  }
}

void apply_proxies(const Environment& environment, builder::BuildRequest& request) {
  // The caller's proxies are handed to RUN steps as docker's client does; they never enter keys (ARG-8).
  for (const char* name : {"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"}) {
    for (const std::string& spelled : {std::string(name), to_lower(name)}) {
      const bool given =
          std::any_of(request.build_args.begin(), request.build_args.end(),
                      [&](const auto& arg) { return equal_ignoring_case(arg.first, spelled); });
      if (given) continue;
      if (const auto value = environment.find(spelled)) request.build_args.emplace_back(spelled, *value);
    }
  }
}

}  // namespace

std::optional<std::string> Environment::find(std::string_view name) const {
  for (const auto& [key, value] : variables) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::vector<std::string> split_csv(const std::string& text) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      fields.back() += '"';
      ++i;
    } else if (c == '"' && (quoted || fields.back().empty())) {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  if (quoted) throw usage(cat("a double quote is not closed in \"", printable(text), "\""));
  return fields;
}

std::uint64_t parse_size(const std::string& text, const std::string& option) {
  std::string_view digits = text;
  while (!digits.empty() && !(digits.back() >= '0' && digits.back() <= '9')) digits.remove_suffix(1);
  const std::string unit = to_lower(std::string_view(text).substr(digits.size()));
  const auto number = parse_decimal(digits);
  int shift = -1;
  if (unit.empty() || unit == "b")
    shift = 0;
  else if (unit == "k" || unit == "kb" || unit == "kib")
    shift = 10;
  else if (unit == "m" || unit == "mb" || unit == "mib")
    shift = 20;
  else if (unit == "g" || unit == "gb" || unit == "gib")
    shift = 30;
  if (!number || shift < 0 || *number > (std::uint64_t{1} << 62) >> shift) {
    throw usage(cat(option, " wants a size like 64m or 1g, not \"", printable(text), "\""));
  }
  return *number << shift;
}

std::optional<std::pair<std::string, std::string>> parse_build_arg(const std::string& text,
                                                                   const Environment& environment) {
  const auto equals = text.find('=');
  const std::string name = text.substr(0, equals);
  if (name.empty()) throw usage(cat("--build-arg wants NAME=VALUE or NAME, not \"", printable(text), "\""));
  if (equals != std::string::npos) return std::pair(name, text.substr(equals + 1));
  if (const auto value = environment.find(name)) return std::pair(name, *value);
  return std::nullopt;
}

builder::Isolation parse_isolation(const std::string& word) {
  if (word == "auto") return builder::Isolation::automatic;
  if (word == "full") return builder::Isolation::full;
  if (word == "chroot") return builder::Isolation::chroot;
  throw usage(cat("--isolation is auto, full or chroot, not \"", printable(word), "\""));
}

builder::SnapshotterKind parse_snapshotter(const std::string& word) {
  if (word == "auto") return builder::SnapshotterKind::automatic;
  if (word == "overlay") return builder::SnapshotterKind::overlay;
  if (word == "fuse-overlayfs") return builder::SnapshotterKind::fuse_overlayfs;
  if (word == "copy") return builder::SnapshotterKind::copy;
  throw usage(cat("--snapshotter is auto, overlay, fuse-overlayfs or copy, not \"", printable(word), "\""));
}

builder::BuildRequest make_request(const BuildOptions& options, const Environment& environment) {
  builder::BuildRequest request;
  request.context = options.context;
  request.dockerfile = options.dockerfile;
  if (!options.target.empty()) request.target = options.target;
  for (const auto& text : options.build_args) {
    if (auto arg = parse_build_arg(text, environment)) request.build_args.push_back(std::move(*arg));
  }
  for (const auto& text : options.labels) request.labels.push_back(split_pair(text, "--label"));
  for (const auto& text : options.build_contexts) {
    auto [name, value] = split_pair(text, "--build-context");
    request.named_contexts.push_back({name, value});
  }
  for (const auto& text : options.tags) request.tags.push_back(oci::Reference::parse(text));
  for (const auto& text : options.outputs) request.outputs.push_back(parse_output(text));
  if (!options.platform.empty()) {
    if (options.platform.find(',') != std::string::npos) {
      throw usage("--platform takes one platform; an image for several is not supported yet")
          .with_note("build each platform with a command of its own");
    }
    request.platform = oci::Platform::parse(options.platform);
    request.platform_given = true;
  }
  request.compression = parse_compression(options);
  request.jobs = options.jobs;
  request.use_cache = !options.no_cache;
  if (!options.explain.empty() && options.explain != "text" && options.explain != "json") {
    throw Error(cat("--explain is text or json, not \"", printable(options.explain), "\""), ExitCode::usage);
  }
  request.explain = !options.explain.empty();
  request.no_cache_stages = options.no_cache_filter;
  request.timestamp = options.source_date_epoch;
  const bool by_argument = std::any_of(request.build_args.begin(), request.build_args.end(),
                                       [](const auto& arg) { return arg.first == "SOURCE_DATE_EPOCH"; });
  if (!request.timestamp && !by_argument) {
    if (const auto epoch = environment.find("SOURCE_DATE_EPOCH"); epoch && !epoch->empty()) {
      const auto seconds = parse_decimal(*epoch);
      if (!seconds || *seconds > (std::uint64_t{1} << 40)) {
        throw usage(cat("SOURCE_DATE_EPOCH must be seconds since 1970, not \"", printable(*epoch), "\""));
      }
      request.timestamp = static_cast<std::int64_t>(*seconds);
    }
  }
  apply_network_options(options, request);
  apply_allow(options.allow, request);
  apply_security(options.security_opts, request);
  request.hostname = options.hostname;
  if (!options.cdi_spec_dirs.empty()) request.cdi_spec_dirs = options.cdi_spec_dirs;
  if (options.cache_mount_owner != "root" && options.cache_mount_owner != "user") {
    throw usage(
        cat("--cache-mount-owner is root or user, not \"", printable(options.cache_mount_owner), "\""));
  }
  request.cache_mounts_of_user = options.cache_mount_owner == "user";
  for (const auto& text : options.ulimits) request.ulimits.push_back(parse_ulimit(text));
  if (!options.shm_size.empty()) request.shm_size_bytes = parse_size(options.shm_size, "--shm-size");
  apply_limits(options.limits, request);
  if (options.context_modes != "disk" && options.context_modes != "git") {
    throw usage(cat("--context-modes is disk or git, not \"", printable(options.context_modes), "\""));
  }
  request.git_modes = options.context_modes == "git";
  apply_secret_options(options, environment, request);
  if (!options.ca_bundle.empty())
    request.ca_bundle = read_ca_bundle(options.ca_bundle, environment.find("SSL_CERT_FILE").value_or(""));
  apply_proxies(environment, request);
  return request;
}

}  // namespace imgbuild::cli
