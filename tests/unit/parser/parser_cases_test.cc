// Every case of testdata/cases/parser.json.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "parser/device_options.h"
#include "parser/mount_options.h"
#include "parser/parser.h"
#include "tests/support/test_data.h"

using namespace imgbuild;
using namespace imgbuild::parser;
using nlohmann::json;

namespace {

json lines_of(const SourceRange& where) { return {where.first_line, where.last_line}; }

std::string identity(std::string_view value) { return std::string(value); }

void put(json& out, const char* key, const std::string& value) {
  if (!value.empty()) out[key] = value;
}
void put(json& out, const char* key, bool value) {
  if (value) out[key] = true;
}

json mount_json(const MountOptions& mount) {
  static const char* const kTypes[] = {"bind", "cache", "tmpfs", "secret", "ssh"};
  static const char* const kSharings[] = {"shared", "private", "locked"};
  json out = {{"type", kTypes[static_cast<int>(mount.type)]}, {"readonly", mount.read_only}};
  put(out, "target", mount.target);
  put(out, "source", mount.source);
  put(out, "id", mount.id);
  put(out, "required", mount.required);
  if (mount.from) out["from"] = *mount.from;
  if (mount.sharing) out["sharing"] = kSharings[static_cast<int>(*mount.sharing)];
  if (mount.size_bytes > 0) out["size"] = mount.size_bytes;
  if (mount.uid) out["uid"] = *mount.uid;
  if (mount.gid) out["gid"] = *mount.gid;
  if (mount.env) out["env"] = *mount.env;
  if (mount.mode) {
    char octal[16];
    std::snprintf(octal, sizeof octal, "0%o", *mount.mode);
    out["mode"] = octal;
  }
  return out;
}

/// In the cases a shell form without text has no word, with us an empty one.
void put_command(json& out, const CommandLine& command) {
  const bool no_text = command.shell_form && command.words == std::vector<std::string>{""};
  out["cmdline"] = no_text ? json::array() : json(command.words);
  out["shellForm"] = command.shell_form;
}

struct ToJson {
  json& out;

  void operator()(const FromInstruction&) const { out["type"] = "FROM"; }
  void operator()(const RunInstruction& run) const {
    out["type"] = "RUN";
    put_command(out, run.command);
    for (const auto& heredoc : run.command.heredocs) {
      out["files"].push_back({{"name", heredoc.name}, {"data", heredoc.data}, {"chomp", heredoc.chomp}});
    }
    try {
      for (const auto& mount : run.mounts) out["mounts"].push_back(mount_json(parse_mount(mount, identity)));
    } catch (const SyntaxError& error) {
      out.erase("mounts");
      out["mountError"] = error.message();
    }
    for (const auto& value : run.devices) {
      const DeviceOptions device = parse_device(value);
      out["devices"].push_back({{"name", device.name}, {"required", device.required}});
    }
    if (run.network && *run.network != "default") out["network"] = *run.network;
    if (run.security && *run.security != "sandbox") out["security"] = *run.security;
  }
  void operator()(const CopyInstruction& copy) const {
    out["type"] = copy.is_add ? "ADD" : "COPY";
    out["sources"] = copy.sources;
    out["dest"] = copy.destination;
    for (const auto& file : copy.inline_sources) {
      out["inline"].push_back({{"path", file.path}, {"data", file.data}, {"expand", file.expand}});
    }
    if (copy.from) out["from"] = *copy.from;
    put(out, "chown", copy.chown);
    put(out, "chmod", copy.chmod);
    put(out, "checksum", copy.checksum);
    put(out, "link", copy.link);
    put(out, "parents", copy.parents);
    if (!copy.excludes.empty()) out["exclude"] = copy.excludes;
    if (copy.keep_git_dir) out["keepGitDir"] = *copy.keep_git_dir;
    if (copy.unpack) out["unpack"] = *copy.unpack;
  }
  void pairs(const std::vector<KeyValue>& values, bool legacy) const {
    for (const auto& pair : values) {
      json item = {{"key", pair.key}, {"value", pair.value}};
      put(item, "legacy", legacy);
      out["pairs"].push_back(item);
    }
  }
  void operator()(const EnvInstruction& env) const {
    out["type"] = "ENV";
    pairs(env.pairs, env.legacy_form);
  }
  void operator()(const LabelInstruction& label) const {
    out["type"] = "LABEL";
    pairs(label.pairs, label.legacy_form);
  }
  void operator()(const ArgInstruction& arg) const {
    out["type"] = "ARG";
    for (const auto& definition : arg.args) {
      json item = {{"key", definition.key}, {"value", nullptr}};
      if (definition.value) item["value"] = *definition.value;
      put(item, "doc", definition.doc);
      out["args"].push_back(item);
    }
  }
  void value(const char* type, const std::string& text) const {
    out["type"] = type;
    out["value"] = text;
  }
  void operator()(const WorkdirInstruction& workdir) const { value("WORKDIR", workdir.path); }
  void operator()(const UserInstruction& user) const { value("USER", user.user); }
  void operator()(const StopSignalInstruction& stop) const { value("STOPSIGNAL", stop.signal); }
  void operator()(const MaintainerInstruction& maintainer) const { value("MAINTAINER", maintainer.name); }
  void operator()(const CmdInstruction& cmd) const {
    out["type"] = "CMD";
    put_command(out, cmd.command);
  }
  void operator()(const EntrypointInstruction& entrypoint) const {
    out["type"] = "ENTRYPOINT";
    put_command(out, entrypoint.command);
  }
  void operator()(const ShellInstruction& shell) const {
    out["type"] = "SHELL";
    out["values"] = shell.words;
  }
  void operator()(const ExposeInstruction& expose) const {
    out["type"] = "EXPOSE";
    out["values"] = expose.ports;
  }
  void operator()(const VolumeInstruction& volume) const {
    out["type"] = "VOLUME";
    out["values"] = volume.paths;
  }
  void operator()(const OnBuildInstruction& onbuild) const {
    out["type"] = "ONBUILD";
    out["expression"] = onbuild.expression;
  }
  void operator()(const HealthcheckInstruction& health) const {
    out["type"] = "HEALTHCHECK";
    json item = {{"Test", health.test}};
    if (health.interval_ns) item["Interval"] = health.interval_ns;
    if (health.timeout_ns) item["Timeout"] = health.timeout_ns;
    if (health.start_period_ns) item["StartPeriod"] = health.start_period_ns;
    if (health.start_interval_ns) item["StartInterval"] = health.start_interval_ns;
    if (health.retries) item["Retries"] = health.retries;
    out["health"] = item;
  }
};

json command_json(const Instruction& instruction) {
  json out = {{"lines", lines_of(instruction.where)}, {"original", instruction.text}};
  std::visit(ToJson{out}, instruction.body);
  return out;
}

json stage_json(const Stage& stage) {
  const FromInstruction& from = stage.from_body();
  json out = {{"base", from.base}, {"lines", lines_of(stage.from.where)}, {"commands", json::array()}};
  if (from.stage_name) out["name"] = *from.stage_name;
  if (from.platform) out["platform"] = *from.platform;
  put(out, "doc", from.doc);
  for (const auto& command : stage.commands) out["commands"].push_back(command_json(command));
  return out;
}

json file_json(const Dockerfile& file) {
  json out = {{"escape", std::string(1, file.escape)}, {"stages", json::array()}};
  for (const auto& arg : file.global_args) out["metaArgs"].push_back(command_json(arg));
  for (const auto& stage : file.stages) out["stages"].push_back(stage_json(stage));
  if (file.check) out["check"] = *file.check;
  if (file.syntax) {
    out["syntax"] = {
        {"ref", file.syntax->reference}, {"cmdline", file.syntax->command_line}, {"line", file.syntax->line}};
  }
  for (const auto& warning : file.warnings) {
    if (warning.rule == "NoEmptyContinuation")
      out["emptyContinuationWarnings"].push_back(warning.where.first_line);
  }
  return out;
}

/// The messages of the cases, reduced to what ours must say as well; the line is in the range, and
/// suggestions are notes.
std::string core_of(std::string message) {
  if (message.starts_with("dockerfile parse error on line ")) message.erase(0, message.find(": ") + 2);
  if (const auto hint = message.find(" (did you mean "); hint != std::string::npos) message.erase(hint);
  // Two texts leak the innards of the reference; ours say the same in words.
  if (message.starts_with("strconv.ParseInt")) return "invalid syntax";
  if (message.starts_with("unknown instruction: ")) return printable(message);
  return message;
}

std::string suggestion_of(const std::string& message) {
  const auto hint = message.find("(did you mean ");
  if (hint == std::string::npos) return {};
  const auto from = hint + std::string_view("(did you mean ").size();
  return message.substr(from, message.find('?', from) - from);
}

bool mentions(const Error& error, const std::string& word) {
  for (const auto& note : error.notes()) {
    if (note.find(word) != std::string::npos) return true;
  }
  return word.empty();
}

/// The reference counts the lines of directive errors from 0, and gives 0 for an empty file (PAR-14); we
/// count from 1.
json expected_lines(const json& test) {
  const json& lines = test["error"]["lines"];
  const std::string message = test["error"]["message"];
  const bool directive =
      message.find("parser directive") != std::string::npos || message.starts_with("invalid escape token");
  if (directive) return {lines[0].get<int>() + 1, lines[1].get<int>() + 1};
  return lines;
}

void check_error(const json& test, const Error& error) {
  const std::string expected = test["error"]["message"];
  REQUIRE(error.where());
  CHECK(lines_of(*error.where()) == expected_lines(test));
  const bool empty_file = test["dockerfile"] == "";  // PAR-2 gives it a text of its own
  const std::string core = empty_file ? "the Dockerfile cannot be empty" : core_of(expected);
  CHECK_MESSAGE(error.message().find(core) != std::string::npos, error.message()
                                                                     << " does not say: " << core);
  CHECK(mentions(error, suggestion_of(expected)));
}

/// Where a mount is wrong, only the core of the text has to agree.
void unify_mount_errors(json& actual, const json& expected) {
  for (std::size_t s = 0; s < actual["stages"].size() && s < expected["stages"].size(); ++s) {
    auto& commands = actual["stages"][s]["commands"];
    const auto& wanted = expected["stages"][s]["commands"];
    for (std::size_t c = 0; c < commands.size() && c < wanted.size(); ++c) {
      // ENTRYPOINT without arguments is null in the cases, CMD an empty list; the config treats both alike.
      if (wanted[c].contains("cmdline") && wanted[c]["cmdline"].is_null()) {
        CHECK(commands[c]["cmdline"] == json::array());
        commands[c]["cmdline"] = nullptr;
      }
      if (!wanted[c].contains("mountError") || !commands[c].contains("mountError")) continue;
      const std::string text = commands[c]["mountError"];
      if (text.find(core_of(wanted[c]["mountError"])) != std::string::npos) {
        commands[c]["mountError"] = wanted[c]["mountError"];
      }
    }
  }
}

}  // namespace

TEST_CASE("every parser case gives the tree or the error it lists") {
  const json cases = json::parse(tests::read_test_data("cases/parser.json"))["cases"];
  int run = 0;
  for (const auto& test : cases) {
    const std::string id = test["id"];
    CAPTURE(id);
    ++run;
    const auto source =
        std::make_shared<const SourceText>("Dockerfile", test["dockerfile"].get<std::string>());
    try {
      json actual = file_json(parse_dockerfile(source));
      CHECK_MESSAGE(!test.contains("error"),
                    id << " should fail with " << test.value("error", json()).dump());
      if (test.contains("error")) continue;
      json expected = test;
      for (const char* key : {"id", "group", "note", "dockerfile"}) expected.erase(key);
      unify_mount_errors(actual, expected);
      CHECK_MESSAGE(actual == expected,
                    id << "\n got      " << actual.dump() << "\n expected " << expected.dump());
    } catch (const Error& error) {
      CHECK_MESSAGE(test.contains("error"), id << " should parse, but: " << error.message());
      if (test.contains("error")) check_error(test, error);
    }
  }
  CHECK(run == 324);
}
