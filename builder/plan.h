#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/source_text.h"
#include "builder/stage_scope.h"
#include "oci/image_config.h"
#include "oci/platform.h"
#include "parser/instruction.h"
#include "parser/mount_options.h"

namespace imgbuild::builder {

/// Where files or a root come from.
struct FromStage {
  std::size_t stage;
};  ///< another stage of the plan
struct FromImage {
  std::size_t image;
};  ///< index into Plan::images
struct FromContext {
  std::string name;
};  ///< "" is the main build context, else a named context
struct FromScratch {};
using Origin = std::variant<FromScratch, FromStage, FromImage, FromContext>;

/// An image the plan needs, resolved to one manifest.
struct PlannedImage {
  std::string reference;  ///< as it was resolved: fully qualified
  oci::Platform platform;
};

/// A RUN mount, evaluated. `target` is absolute and clean.
struct PlannedMount {
  parser::MountOptions options;
  std::string target;
  Origin from = FromContext{};  ///< bind and cache (cache: FromScratch when `from` was not written)
};

struct RunOp {
  std::vector<std::string> argv;         ///< shell included for the shell form
  RunScope scope;                        ///< image env, ENV, set ARGs (RUN-2)
  std::vector<std::string> unkeyed_env;  ///< proxies: in the environment, never in the key (ARG-8)
  std::string working_dir;               ///< text as stored in the config, absolute
  std::string user;                      ///< text as written, may be empty
  std::vector<PlannedMount> mounts;
  std::string network = "default";   ///< default | none | host, after force-network-mode
  std::string security = "sandbox";  ///< sandbox | insecure
  std::string hostname;
  /// A heredoc script with a shebang: mounted read-only at /dev/pipes/<name> with mode 0755 (HDC-11).
  std::optional<std::pair<std::string, std::string>> script;
  std::vector<std::string> devices;
};

struct CopyOp {
  bool is_add = false;
  Origin from = FromContext{};
  std::vector<std::string> sources;                               ///< expanded
  std::vector<std::pair<std::string, std::string>> inline_files;  ///< name, expanded data
  std::string destination;  ///< absolute, clean, but keeps a trailing "/" or "/." (COPY-21, 23)
  std::string chown;        ///< expanded text, empty: not given
  std::string chmod;
  bool link = false;  ///< effective: false when --chmod switches it off (COPY-72)
  bool parents = false;
  std::vector<std::string> excludes;
  std::string checksum;
  std::optional<bool> keep_git_dir;
  std::optional<bool> unpack;
};

/// Creates the directory if it is missing (MET-20…23).
struct WorkdirOp {
  std::string path;  ///< absolute, clean
  std::string user;  ///< the owner: current USER text
};

/// A step: something that makes a layer, inputs known, to be run or skipped.
struct PlanStep {
  std::variant<RunOp, CopyOp, WorkdirOp> op;
  std::string title;          ///< "RUN make" (PRG-4)
  bool from_trigger = false;  ///< ONBUILD
  SourceRange where;
  std::size_t history = 0;  ///< index into PlannedStage::history of the entry this step makes a layer for
};

struct PlannedStage {
  std::string name;          ///< empty without one
  std::string display_name;  ///< name or "stage-N" (PRG-2)
  Origin base = FromScratch{};
  oci::Platform platform;
  SourceRange where;       ///< the FROM line
  std::string from_title;  ///< "FROM docker.io/library/alpine:3.20"
  std::vector<PlanStep> steps;
  /// The image config after the last instruction, without diff IDs, created and history.
  oci::ImageConfig config;
  /// Entries this stage adds, in order, `created` unset; base history is in front of them in the result.
  /// Those of RUN have no text yet: finished_history() gives it to them.
  std::vector<oci::HistoryEntry> history;
  bool no_cache = false;  ///< its RUN, COPY and ADD never hit (STG-9)
};

/// The whole of what is to be done: reachable stages in file order. The plan says what, never when or how.
struct Plan {
  std::vector<PlannedImage> images;
  std::vector<PlannedStage> stages;
  std::size_t target = 0;  ///< index into `stages`
  std::optional<std::int64_t> source_date_epoch;
};

}  // namespace imgbuild::builder
