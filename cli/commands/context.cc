#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "builder/context_walk.h"
#include "builder/dockerfile_location.h"
#include "cli/commands/commands.h"
#include "parser/paths.h"

namespace imgbuild::cli {

namespace {

struct ContextQuery {
  std::string directory = ".";
  std::string dockerfile;  ///< as -f of a build
  std::string format = "text";
  std::vector<std::string> paths;
};

/// The directory as a build would see it. Throws what a build would.
builder::ContextWalk open_walk(const ContextQuery& query) {
  std::string dockerfile = query.dockerfile.empty() ? "Dockerfile" : query.dockerfile;
  if (!query.dockerfile.empty() && !dockerfile.starts_with('/')) {
    char buffer[4096];
    if (::getcwd(buffer, sizeof buffer) == nullptr) throw SystemError(errno, "find the current directory");
    dockerfile = cat(buffer, "/", dockerfile);
  }
  builder::ContextOptions options;
  parser::IgnoreMatcher ignore;
  if (const auto file = builder::find_ignore_file(query.directory, dockerfile, builder::PathTrust::trusted)) {
    ignore = parser::IgnoreMatcher::parse(file);
    options.ignore_name = file->name();
  }
  return builder::ContextWalk(RootDir::open(query.directory), std::move(ignore), std::move(options));
}

bool is_directory(const builder::SourceNode& node) {
  return node.attributes.type == oci::FileType::directory;
}

void print_entry(const ContextQuery& query, const std::string& path, const builder::SourceNode& node) {
  if (query.format == "text") {
    std::cout << printable(path) << (is_directory(node) ? "/" : "") << "\n";
    return;
  }
  const nlohmann::json entry = {{"path", path},
                                {"directory", is_directory(node)},
                                {"mode", node.attributes.mode},
                                {"size", node.attributes.size}};
  std::cout << entry.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

int list_files(const ContextQuery& query) {
  auto walk = open_walk(query);
  std::vector<std::string> pending = {""};  // directories still to be read, the next one last
  while (!pending.empty()) {
    const std::string directory = std::move(pending.back());
    pending.pop_back();
    std::vector<std::string> below;
    for (const auto& [name, node] : walk.list(directory)) {
      const std::string path = directory.empty() ? name : cat(directory, "/", name);
      print_entry(query, path, node);
      if (is_directory(node)) below.push_back(path);
    }
    pending.insert(pending.end(), below.rbegin(), below.rend());
  }
  return 0;
}

/// One line for one path. Throws Error when nothing is there.
std::string reason_line(builder::ContextWalk& walk, const std::string& text, bool& part) {
  const std::string path = parser::clean_path("/" + text).substr(1);
  if (!path.empty() && !walk.exists_on_disk(path))
    throw Error(cat(printable(text), " does not exist in the build context"))
        .with_note("paths are relative to the build context");
  part = path.empty() || walk.find(path).has_value();
  const auto rule = walk.deciding_rule(path);
  if (!part) return cat("not part of the build: left out by ", rule.value_or("a rule"));
  if (walk.hiding_rule(path))
    return cat("part of the build for what it holds, although ", *rule, " leaves it out");
  return rule ? cat("part of the build: kept by ", *rule)
              : std::string("part of the build: no rule matches it");
}

int explain_paths(const ContextQuery& query) {
  auto walk = open_walk(query);
  for (const auto& path : query.paths) {
    bool part = false;
    const std::string line = reason_line(walk, path, part);
    if (query.format == "json") {
      const nlohmann::json entry = {{"path", path}, {"part", part}, {"reason", line}};
      std::cout << entry.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
    } else {
      std::cout << printable(path) << ": " << line << "\n";
    }
  }
  return 0;
}

void add_common(CLI::App& command, ContextQuery& query) {
  command.add_option("-f,--file", query.dockerfile,
                     "Dockerfile, whose own ignore file counts (default: CONTEXT/Dockerfile)");
  command.add_option("--format", query.format, "text, or json: a line each")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

}  // namespace

std::string add_context_command(CLI::App& app, CommandContext&, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("context", "Look at a build context as a build sees it.");
  command->require_subcommand(1);
  auto query = std::make_shared<ContextQuery>();
  auto* list = command->add_subcommand("ls", "List what is part of the build.");
  list->add_option("CONTEXT", query->directory, "Directory")->capture_default_str();
  add_common(*list, *query);
  list->callback([=, &chosen] { chosen = [=] { return list_files(*query); }; });

  auto* why =
      command->add_subcommand("why", "Say which rule makes files part of the build, or leaves them out.");
  why->add_option("PATH", query->paths, "Paths in the build context")->required();
  why->add_option("-C,--context", query->directory, "Directory")->capture_default_str();
  add_common(*why, *query);
  why->callback([=, &chosen] { chosen = [=] { return explain_paths(*query); }; });
  return "context";
}

}  // namespace imgbuild::cli
