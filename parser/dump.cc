#include "parser/dump.h"

#include "base/strings.h"
#include "parser/duration.h"

namespace imgbuild::parser {

namespace {

std::string quoted(std::string_view text) { return cat("\"", printable(text), "\""); }

/// Writes `name: value` lines, indented.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  void line(std::string_view name, std::string_view value) const {
    out_ += cat("      ", name, ": ", value, "\n");
  }
  void text(std::string_view name, const std::string& value) const {
    if (!value.empty()) line(name, quoted(value));
  }
  void text(std::string_view name, const std::optional<std::string>& value) const {
    if (value) line(name, quoted(*value));
  }
  void flag(std::string_view name, bool on) const {
    if (on) line(name, "yes");
  }
  void flag(std::string_view name, std::optional<bool> on) const {
    if (on) line(name, *on ? "yes" : "no");
  }
  void texts(std::string_view name, const std::vector<std::string>& values) const {
    for (const auto& value : values) line(name, quoted(value));
  }
  void duration(std::string_view name, std::int64_t nanoseconds) const {
    if (nanoseconds != 0) line(name, format_go_duration(nanoseconds));
  }

 private:
  std::string& out_;
};

/// What is worth knowing about each instruction; a new one does not compile until it is described here.
struct Describe {
  Writer out;

  void operator()(const FromInstruction& from) const {
    out.text("base", from.base);
    out.text("platform", from.platform);
    out.text("name", from.stage_name);
    out.text("description", from.doc);
  }
  void command(const CommandLine& command) const {
    out.texts(command.shell_form ? "shell form" : "word", command.words);
    for (const auto& heredoc : command.heredocs) {
      out.line("here-document", cat(quoted(heredoc.name), heredoc.expand ? "" : ", quoted",
                                    heredoc.chomp ? ", tabs stripped" : ""));
      out.line("  body", quoted(heredoc.data));
    }
  }
  void operator()(const RunInstruction& run) const {
    out.texts("mount", run.mounts);
    out.text("network", run.network);
    out.text("security", run.security);
    out.texts("device", run.devices);
    command(run.command);
  }
  void operator()(const CopyInstruction& copy) const {
    out.text("from", copy.from);
    out.text("owner", copy.chown);
    out.text("mode", copy.chmod);
    out.text("checksum", copy.checksum);
    out.flag("link", copy.link);
    out.flag("parents", copy.parents);
    out.flag("keep git directory", copy.keep_git_dir);
    out.flag("unpack", copy.unpack);
    out.texts("exclude", copy.excludes);
    out.texts("source", copy.sources);
    for (const auto& file : copy.inline_sources) {
      out.line("inline file", cat(quoted(file.path), file.expand ? "" : ", not expanded"));
      out.line("  body", quoted(file.data));
    }
    out.text("destination", copy.destination);
  }
  void pairs(const std::vector<KeyValue>& pairs, bool legacy) const {
    for (const auto& pair : pairs) out.line(quoted(pair.key), quoted(pair.value));
    out.flag("legacy form", legacy);
  }
  void operator()(const EnvInstruction& env) const { pairs(env.pairs, env.legacy_form); }
  void operator()(const LabelInstruction& label) const { pairs(label.pairs, label.legacy_form); }
  void operator()(const ArgInstruction& arg) const {
    for (const auto& definition : arg.args) {
      out.line(quoted(definition.key), definition.value ? quoted(*definition.value) : "no default");
      out.text("description", definition.doc);
    }
  }
  void operator()(const WorkdirInstruction& workdir) const { out.text("path", workdir.path); }
  void operator()(const UserInstruction& user) const { out.text("user", user.user); }
  void operator()(const CmdInstruction& cmd) const { command(cmd.command); }
  void operator()(const EntrypointInstruction& entrypoint) const { command(entrypoint.command); }
  void operator()(const ShellInstruction& shell) const { out.texts("word", shell.words); }
  void operator()(const ExposeInstruction& expose) const { out.texts("port", expose.ports); }
  void operator()(const VolumeInstruction& volume) const { out.texts("path", volume.paths); }
  void operator()(const StopSignalInstruction& stop) const { out.text("signal", stop.signal); }
  void operator()(const MaintainerInstruction& maintainer) const { out.text("name", maintainer.name); }
  void operator()(const OnBuildInstruction& onbuild) const { out.text("trigger", onbuild.expression); }
  void operator()(const HealthcheckInstruction& health) const {
    out.texts("test", health.test);
    out.duration("interval", health.interval_ns);
    out.duration("timeout", health.timeout_ns);
    out.duration("start period", health.start_period_ns);
    out.duration("start interval", health.start_interval_ns);
    if (health.retries != 0) out.line("retries", cat(health.retries));
  }
};

std::string lines_of(const SourceRange& where) {
  const bool one = where.first_line == where.last_line;
  return one ? cat("line ", where.first_line) : cat("lines ", where.first_line, "-", where.last_line);
}

}  // namespace

std::string dump(const Instruction& instruction) {
  std::string out = cat("  ", to_upper(instruction.keyword), " (", lines_of(instruction.where), ")\n");
  std::visit(Describe{Writer(out)}, instruction.body);
  return out;
}

std::string dump(const Dockerfile& file) {
  std::string out = cat("file ", quoted(file.source->name()), ", escape ", file.escape, "\n");
  if (file.syntax)
    out += cat("syntax ", quoted(file.syntax->command_line), " (line ", file.syntax->line, ")\n");
  if (file.check) out += cat("check ", quoted(*file.check), " (line ", file.check_line, ")\n");
  if (!file.global_args.empty()) out += "global arguments\n";
  for (const auto& arg : file.global_args) out += dump(arg);
  for (std::size_t i = 0; i < file.stages.size(); ++i) {
    out += cat("stage ", i, "\n", dump(file.stages[i].from));
    for (const auto& instruction : file.stages[i].commands) out += dump(instruction);
  }
  for (const auto& warning : file.warnings) {
    out += cat("warning ", warning.rule, ": ", warning.detail, " (", lines_of(warning.where), ")\n");
  }
  return out;
}

}  // namespace imgbuild::parser
