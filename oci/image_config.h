#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/timestamp.h"
#include "oci/layer_entry.h"
#include "oci/platform.h"

namespace imgbuild::oci {

/// How to find out whether a container is well. Durations in nanoseconds, 0: default.
struct Healthcheck {
  std::vector<std::string> test;  ///< {"NONE"}, {"CMD", word…} or {"CMD-SHELL", text}
  std::int64_t interval_ns = 0;
  std::int64_t timeout_ns = 0;
  std::int64_t start_period_ns = 0;
  std::int64_t start_interval_ns = 0;
  int retries = 0;
  bool operator==(const Healthcheck&) const = default;
};

/// One line of an image's history (IMG-32…36).
struct HistoryEntry {
  std::optional<Timestamp> created;
  std::string created_by;
  std::string author;
  std::string comment;
  bool empty_layer = false;
  bool operator==(const HistoryEntry&) const = default;
};

/// What a container gets when it is started from the image.
struct RuntimeConfig {
  std::string user;
  std::set<std::string> exposed_ports;  ///< "80/tcp"
  std::vector<std::string> env;         ///< "KEY=value", in order
  std::optional<std::vector<std::string>> entrypoint;
  std::optional<std::vector<std::string>> cmd;
  std::set<std::string> volumes;
  std::string working_dir;
  std::map<std::string, std::string> labels;
  std::string stop_signal;
  bool args_escaped = false;
  std::optional<Healthcheck> healthcheck;
  std::vector<std::string> on_build;
  std::vector<std::string> shell;
  bool operator==(const RuntimeConfig&) const = default;
};

/// Entrypoint, env, history, diff IDs of an image; the digest of its bytes is the image ID. Only the members
/// of IMG-22/23 are kept when a config is parsed (IMG-27).
struct ImageConfig {
  Platform platform;
  std::string author;
  std::optional<Timestamp> created;
  RuntimeConfig config;
  std::vector<DiffId> diff_ids;
  std::vector<HistoryEntry> history;

  /// Canonical bytes: compact, fixed key order, fixed escapes (IMG-22…26).
  std::string serialize() const;
  /// Strict reader with the limits of NET-3. Throws IntegrityError.
  static ImageConfig parse(std::string_view json);
  bool operator==(const ImageConfig&) const = default;
};

}  // namespace imgbuild::oci
