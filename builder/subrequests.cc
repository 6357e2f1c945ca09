#include "builder/subrequests.h"

#include "base/error.h"
#include "base/strings.h"
#include "builder/evaluation.h"
#include "builder/metadata_json.h"

namespace imgbuild::builder {

namespace {

using nlohmann::ordered_json;

/// One sub-request as SUB-5 lists it.
struct RequestInfo {
  std::string_view name;
  std::string_view description;
};
constexpr RequestInfo kRequests[] = {
    {"frontend.outline", "List all parameters current build target supports"},
    {"frontend.targets", "List all targets current build supports"},
    {"frontend.subrequests.describe", "List available subrequest types"},
};
constexpr std::string_view kVersion = "1.0.0";
constexpr std::string_view kPrefix = "frontend.";

/// Rows of cells, each column as wide as its widest cell and `padding` more; the last cell is not padded.
std::string table(const std::vector<std::vector<std::string>>& rows, std::size_t padding) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      out += cat(row[i], std::string(widths[i] - display_width(row[i]) + padding, ' '));
    }
    out += cat(row.back(), "\n");
  }
  return out;
}

std::string secret_table(std::string_view title, const std::vector<OutlineSecret>& secrets) {
  if (secrets.empty()) return {};
  std::vector<std::vector<std::string>> rows = {{std::string(title), "REQUIRED"}};
  for (const auto& secret : secrets) rows.push_back({printable(secret.name), secret.required ? "true" : ""});
  return cat(table(rows, 3), "\n");
}

ordered_json secrets_json(const std::vector<OutlineSecret>& secrets) {
  ordered_json out = ordered_json::array();
  for (const auto& secret : secrets) {
    ordered_json entry = {{"name", secret.name}};
    if (secret.required) entry["required"] = true;
    entry["location"] = location_json(secret.where);
    out.push_back(entry);
  }
  return out;
}

ordered_json args_json(const std::vector<OutlineArg>& args) {
  ordered_json out = ordered_json::array();
  for (const auto& arg : args) {
    ordered_json entry = {{"name", arg.name}};
    if (!arg.description.empty()) entry["description"] = arg.description;
    if (arg.value) entry["value"] = *arg.value;
    entry["location"] = location_json(arg.where);
    out.push_back(entry);
  }
  return out;
}

}  // namespace

Outline outline_of(const parser::Dockerfile& file, const EvaluateOptions& options, BaseResolver& bases) {
  Evaluation evaluation(file, options, bases, {});
  evaluation.run();
  return evaluation.outline();
}

std::vector<TargetInfo> targets_of(const parser::Dockerfile& file) {
  std::vector<TargetInfo> out;
  for (const auto& stage : file.stages) {
    const parser::FromInstruction& from = stage.from_body();
    out.push_back({from.stage_name.value_or(""), false, from.doc, from.base, from.platform.value_or(""),
                   stage.from.where});
  }
  out.back().is_default = true;
  return out;
}

Subrequest parse_subrequest(std::string_view name) {
  const std::string_view plain = name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
  if (plain == "outline") return Subrequest::outline;
  if (plain == "targets") return Subrequest::targets;
  if (plain == "lint" || plain == "check") return Subrequest::lint;
  if (plain == "subrequests.describe") return Subrequest::describe;
  Error error(cat("unsupported request ", printable(name)), ExitCode::usage);
  error.add_note("known requests are check, outline, targets and subrequests.describe");
  throw error;
}

std::string render_outline_text(const Outline& outline) {
  std::string out;
  std::vector<std::vector<std::string>> header;
  if (!outline.name.empty()) header.push_back({"TARGET:", printable(outline.name)});
  if (!outline.description.empty()) header.push_back({"DESCRIPTION:", printable(outline.description)});
  if (!header.empty()) out += cat(table(header, 1), "\n");
  if (!outline.args.empty()) {
    std::vector<std::vector<std::string>> rows = {{"BUILD ARG", "VALUE", "DESCRIPTION"}};
    for (const auto& arg : outline.args) {
      rows.push_back({printable(arg.name), printable(arg.value.value_or("")), printable(arg.description)});
    }
    out += cat(table(rows, 3), "\n");
  }
  return cat(out, secret_table("SECRET", outline.secrets), secret_table("SSH", outline.ssh));
}

std::string render_outline_json(const Outline& outline, const std::shared_ptr<const SourceText>& source) {
  ordered_json document = ordered_json::object();
  if (!outline.name.empty()) document["name"] = outline.name;
  if (!outline.description.empty()) document["description"] = outline.description;
  if (!outline.args.empty()) document["args"] = args_json(outline.args);
  if (!outline.secrets.empty()) document["secrets"] = secrets_json(outline.secrets);
  if (!outline.ssh.empty()) document["ssh"] = secrets_json(outline.ssh);
  document["sources"] = sources_json(source);
  return document_text(document);
}

std::string render_targets_text(const std::vector<TargetInfo>& targets) {
  std::vector<std::vector<std::string>> rows = {{"TARGET", "DESCRIPTION"}};
  for (const auto& target : targets) {
    std::string name = printable(target.name);
    if (target.is_default) name += name.empty() ? "(default)" : " (default)";
    rows.push_back({name, printable(target.description)});
  }
  return table(rows, 1);
}

std::string render_targets_json(const std::vector<TargetInfo>& targets,
                                const std::shared_ptr<const SourceText>& source) {
  ordered_json list = ordered_json::array();
  for (const auto& target : targets) {
    ordered_json entry = ordered_json::object();
    if (!target.name.empty()) entry["name"] = target.name;
    if (target.is_default) entry["default"] = true;
    if (!target.description.empty()) entry["description"] = target.description;
    entry["base"] = target.base;
    if (!target.platform.empty()) entry["platform"] = target.platform;
    entry["location"] = location_json(target.where);
    list.push_back(entry);
  }
  return document_text({{"targets", list}, {"sources", sources_json(source)}});
}

std::string render_description_text() {
  std::vector<std::vector<std::string>> rows = {{"NAME", "VERSION", "DESCRIPTION"}};
  for (const auto& request : kRequests) {
    rows.push_back({std::string(request.name.substr(kPrefix.size())), std::string(kVersion),
                    std::string(request.description)});
  }
  return table(rows, 1);
}

std::string render_description_json() {
  ordered_json list = ordered_json::array();
  for (const auto& request : kRequests) {
    ordered_json entry = {
        {"name", request.name}, {"version", kVersion}, {"type", "rpc"}, {"description", request.description}};
    entry["opts"] = nullptr;
    if (request.name == "frontend.targets") entry["opts"] = ordered_json::array();
    if (request.name == "frontend.outline") {
      const ordered_json target = {{"name", "target"}, {"description", "Target build stage"}};
      entry["opts"] = ordered_json::array({target});
    }
    entry["inputs"] = nullptr;
    const ordered_json as_json = {{"name", "result.json"}, {"description", ""}};
    const ordered_json as_text = {{"name", "result.txt"}, {"description", ""}};
    entry["metadata"] = ordered_json::array({as_json, as_text});
    entry["refs"] = nullptr;
    list.push_back(entry);
  }
  return document_text(list);
}

}  // namespace imgbuild::builder
