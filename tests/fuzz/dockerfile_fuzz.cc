// Any bytes are a Dockerfile or a SyntaxError with a place in it.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "parser/dump.h"
#include "parser/mount_options.h"
#include "parser/parser.h"
#include "parser/stage_graph.h"

using namespace imgbuild;
using namespace imgbuild::parser;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check_range(const SourceRange& where, int line_count) {
  require(where.first_line >= 1 && where.first_line <= where.last_line && where.last_line <= line_count);
}

void check_instruction(const Instruction& instruction, int line_count) {
  check_range(instruction.where, line_count);
  const auto identity = [](std::string_view value) { return std::string(value); };
  try {
    if (const auto* run = std::get_if<RunInstruction>(&instruction.body)) {
      for (const auto& mount : run->mounts) parse_mount(mount, identity);
    }
    if (const auto* onbuild = std::get_if<OnBuildInstruction>(&instruction.body)) {
      parse_trigger(onbuild->expression, instruction.where);
    }
  } catch (const SyntaxError&) {
  }
}

void check_graph(const Dockerfile& file) {
  std::vector<std::string> bases;
  for (const auto& stage : file.stages) bases.push_back(stage.from_body().base);
  try {
    const StageGraph graph(file, bases);
    for (std::size_t i = 0; i < graph.size(); ++i) graph.reachable(i);
  } catch (const SyntaxError& error) {
    require(error.where().has_value());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto source = std::make_shared<const SourceText>(
      "Dockerfile", std::string(reinterpret_cast<const char*>(data), size));
  const int line_count = source->line_count();
  try {
    const Dockerfile file = parse_dockerfile(source);
    require(!file.stages.empty());
    for (const auto& arg : file.global_args) check_instruction(arg, line_count);
    for (const auto& stage : file.stages) {
      check_range(stage.from.where, line_count);
      for (const auto& command : stage.commands) check_instruction(command, line_count);
    }
    for (const auto& warning : file.warnings) check_range(warning.where, line_count);
    check_graph(file);
    dump(file);
  } catch (const SyntaxError& error) {
    require(error.where().has_value());
    require(error.where()->last_line <= line_count);
    render_excerpt(*error.where());
  }
  return 0;
}
