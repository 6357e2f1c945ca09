#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "builder/event.h"
#include "builder/plan.h"
#include "parser/ignore_file.h"
#include "parser/instruction.h"

namespace imgbuild::builder {

/// What the user says besides the Dockerfile (dockerfile.md section 11.1).
struct EvaluateOptions {
  std::optional<std::string> target;
  std::vector<std::pair<std::string, std::string>> build_args;  ///< in order; the last value of a key wins
  std::vector<std::pair<std::string, std::string>> labels;
  oci::Platform build_platform;
  oci::Platform target_platform;
  bool platform_given = false;                       ///< --platform was written
  std::optional<std::vector<std::string>> no_cache;  ///< set and empty: all stages; else these stage names
  std::string hostname;                              ///< empty: the default name
  std::string default_network = "default";           ///< force-network-mode
  std::vector<std::string> named_contexts;           ///< names given with --build-context
  bool allow_network_host = true;
  bool allow_insecure = false;
  std::vector<std::string> allowed_devices;       ///< CDI names as RUN --device writes them; "*": all
  bool check_all_stages = false;                  ///< LNT-20: evaluate unreachable stages too
  const parser::IgnoreMatcher* ignore = nullptr;  ///< of the main context, for CopyIgnoredFile
  std::string ignore_name;                        ///< ".dockerignore", for texts
  std::optional<std::int64_t> context_time;       ///< of the main context, for SOURCE_DATE_EPOCH (SDE-2)
};

/// The config of a base image, or what a named context stands for.
struct ResolvedBase {
  Origin origin;            ///< FromImage, FromContext or FromScratch
  oci::ImageConfig config;  ///< of the image; the empty config for contexts
  std::string title;        ///< for messages: fully qualified name
};

/// A URL or git reference and what it must be, as ADD and ADD --checksum have them, expanded.
struct RemoteAdd {
  std::string source;
  std::string checksum;  ///< may be empty
};

/// Finds base images and named contexts while the Dockerfile is evaluated (FROM-2 points 1, 4, 5; CTX-10…14).
/// Implemented by the builder with registry, store and named contexts; by tests with a table.
class BaseResolver {
 public:
  virtual ~BaseResolver() = default;
  /// The named context `name` if one was given with --build-context (already in the form of CTX-10); nothing
  /// otherwise.
  virtual std::optional<ResolvedBase> named_context(const std::string& name,
                                                    const oci::Platform& platform) = 0;
  /// An image reference; throws when it cannot be had. `image` numbers of the origin index `Plan::images`, in
  /// the order this resolver hands them out; equal reference and platform give the same number.
  virtual ResolvedBase image(const std::string& reference, const oci::Platform& platform) = 0;
  virtual std::vector<PlannedImage> images() const = 0;
  /// The times SOURCE_DATE_EPOCH may name (SDE-2), seconds since 1970: of the named context `name`, which
  /// exists, and of the source of an ADD. Nothing for what has no time of its own, such as a directory, and
  /// where times do not matter, as in a check.
  virtual std::optional<std::int64_t> context_time(const std::string& name);
  virtual std::optional<std::int64_t> remote_time(const RemoteAdd& add);
};

/// Evaluates a parsed Dockerfile: resolves the stage graph, expands every variable, applies metadata
/// instructions to the image configs, writes history, turns RUN, COPY, ADD and WORKDIR into steps. Executes
/// nothing, reads no file. Build checks go to `warn` as they are met. Throws SyntaxError with its line.
Plan evaluate(const parser::Dockerfile& file, const EvaluateOptions& options, BaseResolver& bases,
              const std::function<void(const Warned&)>& warn);

}  // namespace imgbuild::builder
