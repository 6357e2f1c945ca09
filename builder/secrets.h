#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/secret_bytes.h"

namespace imgbuild::builder {

class SshKeys;

/// One secret of a build. Thread-safe.
class Secret {
 public:
  explicit Secret(std::string_view value) : loaded_(true), value_(value) {}
  explicit Secret(SecretBytes value) : loaded_(true), value_(std::move(value)) {}
  /// Made by `load` when it is needed first, and once. What `load` throws goes to whoever asked.
  explicit Secret(std::function<SecretBytes()> load) : load_(std::move(load)) {}

  std::string_view value() const {
    const std::lock_guard guard(mutex_);
    if (!loaded_) {
      value_ = load_();
      loaded_ = true;
    }
    return value_.view();
  }
  bool loaded() const {
    const std::lock_guard guard(mutex_);
    return loaded_;
  }
  /// Whether a step of this build mounts it.
  void mark_mounted() const noexcept { mounted_ = true; }
  bool mounted() const noexcept { return mounted_; }

 private:
  mutable std::mutex mutex_;
  std::function<SecretBytes()> load_;
  mutable bool loaded_ = false;
  mutable SecretBytes value_;
  mutable std::atomic<bool> mounted_ = false;
};

/// Secrets a build may mount, by id. Values never enter keys, layers, configs or errors (SEC-1…9).
struct SecretStore {
  std::map<std::string, std::shared_ptr<const Secret>> values;
  /// Agents forwarded with --ssh: id -> path of the agent's socket.
  std::map<std::string, std::string> ssh_sockets;
  /// Keys forwarded with --ssh: id -> keys of an agent of our own (SEC-20).
  std::map<std::string, std::shared_ptr<const SshKeys>> ssh_keys;
  bool allow_leak = false;  ///< --allow-secret-leak: what a RUN does with its secrets is its own affair
};

}  // namespace imgbuild::builder
