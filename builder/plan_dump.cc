#include "builder/plan_dump.h"

#include <array>

#include "base/strings.h"
#include "builder/history.h"

namespace imgbuild::builder {

namespace {

constexpr std::array<std::string_view, 5> kMountTypes = {"bind", "cache", "tmpfs", "secret", "ssh"};

class PlanDump {
 public:
  explicit PlanDump(const Plan& plan) : plan_(plan) {}

  std::string text() {
    for (std::size_t i = 0; i < plan_.images.size(); ++i) {
      line(0, cat("image ", i, ": ", plan_.images[i].reference, " ", plan_.images[i].platform.str()));
    }
    if (plan_.source_date_epoch) line(0, cat("source date epoch: ", *plan_.source_date_epoch));
    for (std::size_t i = 0; i < plan_.stages.size(); ++i) stage(i);
    return std::move(out_);
  }

 private:
  void line(std::size_t depth, const std::string& text) {
    out_ += cat(std::string(2 * depth, ' '), printable(text), "\n");
  }

  std::string origin(const Origin& origin) const {
    if (const auto* stage = std::get_if<FromStage>(&origin)) {
      return cat("stage ", stage->stage, " (", plan_.stages.at(stage->stage).display_name, ")");
    }
    if (const auto* image = std::get_if<FromImage>(&origin)) return cat("image ", image->image);
    if (const auto* context = std::get_if<FromContext>(&origin)) {
      return context->name.empty() ? "build context" : cat("context ", context->name);
    }
    return "scratch";
  }

  void words(std::size_t depth, std::string_view name, const std::vector<std::string>& words) {
    if (words.empty()) return;
    std::string text = cat(name, ":");
    for (const auto& word : words) text += cat(" ", quote_word(word));
    line(depth, text);
  }
  void value(std::size_t depth, std::string_view name, const std::string& value) {
    if (!value.empty()) line(depth, cat(name, ": ", value));
  }

  void stage(std::size_t number) {
    const PlannedStage& stage = plan_.stages[number];
    line(0, cat("stage ", number, " (", stage.display_name, ")", number == plan_.target ? ", target" : ""));
    line(1, cat("base: ", origin(stage.base), ", ", stage.from_title));
    line(1, cat("platform: ", stage.platform.str()));
    if (stage.no_cache) line(1, "never from the cache");
    for (const auto& step : stage.steps) {
      line(1, cat("step: ", step.title, "  (line ", step.where.first_line, ")"));
      std::visit([this](const auto& op) { describe(op); }, step.op);
    }
    config(stage.config);
    for (const auto& entry : finished_history(stage)) {
      line(1, cat("history: ", entry.created_by, entry.empty_layer ? "" : "  (layer)"));
    }
  }

  void describe(const RunOp& op) {
    words(2, "command", op.argv);
    words(2, "environment", op.scope.entries());
    words(2, "environment outside the cache key", redacted(op.unkeyed_env));
    value(2, "directory", op.working_dir);
    value(2, "user", op.user);
    line(2, cat("network: ", op.network, ", security: ", op.security, ", hostname: ", op.hostname));
    if (op.script) line(2, cat("script: /dev/pipes/", op.script->first));
    for (const auto& mount : op.mounts) {
      line(2, cat("mount ", kMountTypes.at(static_cast<std::size_t>(mount.options.type)), " at ",
                  mount.target.empty() ? "no path" : mount.target, " from ", origin(mount.from),
                  mount.options.source.empty() ? "" : cat(" ", mount.options.source),
                  mount.options.id.empty() ? "" : cat(", id ", mount.options.id),
                  mount.options.read_only ? ", ro" : ", rw"));
    }
  }

  void describe(const CopyOp& op) {
    line(2, cat("from: ", origin(op.from)));
    words(2, "sources", op.sources);
    for (const auto& [name, data] : op.inline_files)
      line(2, cat("inline file: ", name, ", ", data.size(), " bytes"));
    value(2, "destination", op.destination);
    value(2, "owner", op.chown);
    value(2, "mode", op.chmod);
    value(2, "checksum", op.checksum);
    words(2, "excludes", op.excludes);
    if (op.link) line(2, "independent of the layers below");
    if (op.parents) line(2, "with parent directories");
  }

  void describe(const WorkdirOp& op) {
    value(2, "path", op.path);
    value(2, "owner", op.user);
  }

  void config(const oci::ImageConfig& config) {
    const oci::RuntimeConfig& runtime = config.config;
    words(1, "config env", runtime.env);
    if (runtime.entrypoint) words(1, "config entrypoint", *runtime.entrypoint);
    if (runtime.cmd) words(1, "config cmd", *runtime.cmd);
    value(1, "config directory", runtime.working_dir);
    value(1, "config user", runtime.user);
    for (const auto& [key, label] : runtime.labels) line(1, cat("config label: ", key, "=", label));
  }

  /// Proxy addresses may hold passwords, so only their names are shown.
  static std::vector<std::string> redacted(const std::vector<std::string>& entries) {
    std::vector<std::string> out;
    for (const auto& entry : entries) out.push_back(entry.substr(0, entry.find('=')));
    return out;
  }

  const Plan& plan_;
  std::string out_;
};

}  // namespace

std::string dump_plan(const Plan& plan) { return PlanDump(plan).text(); }

}  // namespace imgbuild::builder
