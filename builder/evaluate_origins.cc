#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/evaluation.h"
#include "oci/reference.h"
#include "parser/place_of.h"
#include "parser/word_error.h"

namespace imgbuild::builder {

namespace {

/// An image name as named contexts spell it: familiar, without `:latest` (CTX-10). Nothing if it is no
/// reference.
std::optional<std::string> context_key(const std::string& name) {
  try {
    std::string key = oci::Reference::parse(name).familiar();
    if (key.ends_with(":latest")) key.resize(key.size() - 7);
    return key;
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Names people mistype for a stage: FROM-7.
constexpr std::string_view kCommonImages[] = {"alpine",   "busybox", "centos", "debian", "fedora",  "golang",
                                              "gcc",      "mysql",   "nginx",  "node",   "openjdk", "php",
                                              "postgres", "python",  "redis",  "ruby",   "rust",    "ubuntu"};

}  // namespace

bool Evaluation::is_context_name(const std::string& name) const {
  if (options_.named_contexts.empty()) return false;
  const auto key = context_key(name);
  if (!key) return false;
  return std::any_of(options_.named_contexts.begin(), options_.named_contexts.end(),
                     [&](const std::string& given) {
                       const std::string plain = given.substr(0, given.find("::"));
                       return plain == name || context_key(plain) == key;
                     });
}

std::optional<ResolvedBase> Evaluation::named_context(const std::string& name) {
  if (name == "scratch" || name == "context" || !is_context_name(name)) return std::nullopt;
  return bases_.named_context(name, options_.target_platform);
}

/// FROM-2 for a base that is no stage.
ResolvedBase Evaluation::resolve_base(std::size_t number, const oci::Platform& platform) {
  const parser::FromInstruction& from = file_.stages[number].from_body();
  if (is_replaced(number)) {
    if (auto context = bases_.named_context(*from.stage_name, platform)) return *context;
  }
  const std::string& name = heads_[number].base;
  if (name == "scratch") return {FromScratch{}, {}, "scratch"};
  if (is_context_name(name)) {
    if (auto context = bases_.named_context(name, platform)) return *context;
  }
  return resolve_image(name, platform, number);
}

ResolvedBase Evaluation::resolve_image(const std::string& name, const oci::Platform& platform,
                                       std::size_t user) {
  const auto suggest = [&](Error& error) {
    std::vector<std::string> known(std::begin(kCommonImages), std::end(kCommonImages));
    for (std::size_t i = 0; i < user; ++i) {
      if (const auto& stage = file_.stages[i].from_body().stage_name) known.push_back(*stage);
    }
    const auto close = nearest(name, known);
    if (close && *close != name) error.add_note(cat("did you mean ", *close, "?"));
  };
  try {
    static_cast<void>(oci::Reference::parse(name));
  } catch (const Error& error) {
    parser::WordError wrong(cat("failed to parse stage name \"", printable(name),
                                "\": invalid reference format: ", error.message()),
                            name);
    suggest(wrong);
    throw wrong;
  }
  try {
    return bases_.image(name, platform);
  } catch (Error& error) {
    suggest(error);
    throw;
  }
}

void Evaluation::take_image(StageState& state, std::size_t number) {
  PlannedStage& planned = state.planned;
  const auto& asked = heads_[number].platform;
  const oci::Platform platform = asked.value_or(options_.target_platform);
  ResolvedBase base;
  try {
    base = resolve_base(number, platform);
  } catch (Error& error) {
    error.locate(parser::place_of(file_.stages[number].from_body().base, file_.stages[number].from.where));
    throw;
  }
  planned.base = base.origin;
  planned.from_title = cat("FROM ", base.title);
  planned.config = std::move(base.config);
  planned.config.created.reset();
  planned.config.diff_ids.clear();
  planned.config.history.clear();
  if (std::holds_alternative<FromImage>(base.origin)) {
    const bool explicit_platform = asked.has_value() || options_.platform_given;
    if (explicit_platform) check_base_platform(number, platform, planned.config.platform);
    planned.platform = explicit_platform ? platform : planned.config.platform;
    return;
  }
  // An empty root belongs to no platform, so --platform means nothing to it (FROM-8).
  planned.platform = options_.target_platform;
  planned.config.platform = options_.target_platform;
  planned.config.config.working_dir = options_.target_platform.os == "windows" ? "\\" : "/";
}

void Evaluation::check_base_platform(std::size_t number, const oci::Platform& wanted,
                                     const oci::Platform& got) {
  if (wanted.os == got.os && wanted.architecture == got.architecture) return;
  linter_.report("InvalidBaseImagePlatform",
                 cat("Base image ", heads_[number].base, " was pulled with platform \"", got.str(),
                     "\", expected \"", wanted.str(), "\" for current build"),
                 file_.stages[number].from);
}

Origin Evaluation::stage_origin(std::size_t stage, std::size_t user) {
  ensure_stage(stage);
  stages_[user].needs.insert(stage);
  return FromStage{stage};
}

std::optional<Origin> Evaluation::find_local_source(const std::string& name, std::size_t user) {
  if (const auto stage = graph_->find_copy_source(name, user)) return stage_origin(*stage, user);
  if (auto context = named_context(name)) return context->origin;
  return std::nullopt;
}

Origin Evaluation::copy_source(const std::string& name, std::size_t user) {
  if (const auto stage = graph_->find_copy_source(name, user)) return stage_origin(*stage, user);
  return other_source(name, user);
}

Origin Evaluation::mount_source(const std::string& name, const std::string& target, std::size_t user) {
  try {
    if (const auto stage = graph_->find_mount_source(name, user)) return stage_origin(*stage, user);
  } catch (Error& error) {
    error.add_context(cat("planning the mount at \"", printable(target), "\""));
    throw;
  }
  return other_source(name, user);
}

/// A named context, the empty root, or an image (STG-8).
Origin Evaluation::other_source(const std::string& name, std::size_t user) {
  if (name == "scratch") return FromScratch{};
  if (auto context = named_context(name)) return context->origin;
  return resolve_image(name, options_.target_platform, user).origin;
}

void Evaluation::note_global(StageState& stage, const std::string& name) const {
  std::vector<std::string> open = {name};  // no recursion: defaults may lead on as often as there are lines
  while (!open.empty()) {
    const std::string next = std::move(open.back());
    open.pop_back();
    const GlobalArg* global = globals_->declaration(next);
    if (global == nullptr || stage.outline_args.contains(next)) continue;
    if (!global->value && globals_->is_automatic(next)) continue;
    stage.outline_args[next] = {next, global->doc, global->value, global->where};
    open.insert(open.end(), global->uses.begin(), global->uses.end());
  }
}

Outline Evaluation::outline() const {
  Outline outline;
  const parser::FromInstruction& from = file_.stages[target_].from_body();
  outline.name = from.stage_name.value_or("");
  outline.description = from.doc;
  std::set<std::size_t> seen;
  std::map<std::string, OutlineArg> args;
  collect_outline(target_, seen, args, outline);
  for (auto& [name, arg] : args) outline.args.push_back(std::move(arg));
  std::stable_sort(outline.args.begin(), outline.args.end(), [](const OutlineArg& a, const OutlineArg& b) {
    return a.where.first_line != b.where.first_line ? a.where.first_line < b.where.first_line
                                                    : a.name < b.name;
  });
  return outline;
}

namespace {

void add_first(std::vector<OutlineSecret>& all, const std::vector<OutlineSecret>& more) {
  for (const auto& secret : more) {
    const bool known =
        std::any_of(all.begin(), all.end(), [&](const auto& other) { return other.name == secret.name; });
    if (!known) all.push_back(secret);
  }
}

}  // namespace

void Evaluation::collect_outline(std::size_t number, std::set<std::size_t>& seen,
                                 std::map<std::string, OutlineArg>& args, Outline& outline) const {
  if (!seen.insert(number).second) return;
  const StageState& stage = stages_[number];
  for (const std::size_t needed : stage.needs) collect_outline(needed, seen, args, outline);
  for (const auto& [name, arg] : stage.outline_args)
    args.insert_or_assign(name, arg);  // the later one counts
  add_first(outline.secrets, stage.outline_secrets);
  add_first(outline.ssh, stage.outline_ssh);
}

}  // namespace imgbuild::builder
