#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "builder/secret_scan.h"
#include "builder/secrets.h"
#include "oci/image_config.h"
#include "oci/layer_entry.h"

namespace imgbuild::builder {

/// Watches what one RUN does with the secrets it was given: covers them in its output, and finds them in its
/// output and its layer. Lives until the layer is written. Not thread-safe, but for what guard() returned.
class SecretGuard {
 public:
  /// `mounted`: ids of the secrets this RUN mounts. Those of the whole build are covered in its output.
  SecretGuard(const SecretStore& secrets, const std::vector<std::string>& mounted);
  ~SecretGuard();

  /// What may be shown of output of stream 1 or 2; `finish` gives what was held back at the end.
  std::string output(int stream, std::string_view bytes);
  std::string finish(int stream);
  /// Throws Error when a mounted secret was printed.
  void check_output() const;

  /// The same entries, whose contents are looked through while they are read for the layer: the reader throws
  /// Error when a mounted secret is found. Nothing is read twice. Names and attributes are checked at once.
  std::vector<oci::PendingEntry> guard(std::vector<oci::PendingEntry> entries) const;

 private:
  struct Patterns;
  struct Streams;
  std::shared_ptr<const Patterns> patterns_;
  std::unique_ptr<Streams> streams_;
};

/// Throws Error when a secret that a step of this build mounts stands in the image's configuration: in a
/// variable, a label, a command or the history (SEC-3, SEC-6).
void require_no_secrets(const oci::ImageConfig& config, const SecretStore& secrets);

}  // namespace imgbuild::builder
