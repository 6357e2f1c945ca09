#pragma once

#include <string>
#include <vector>

#include "parser/instruction.h"
#include "parser/statement.h"

namespace imgbuild::parser {

/// What the grammar of one instruction gets to see.
struct GrammarInput {
  const Statement& statement;
  std::vector<Heredoc> heredocs;  ///< with their bodies
  const std::vector<std::string>& comments;
  char escape = '\\';
};

// One function an instruction (dockerfile.md section 1.5). They throw SyntaxError without a range; the caller
// knows the lines.
FromInstruction parse_from(const GrammarInput& in);
ArgInstruction parse_arg(const GrammarInput& in);
RunInstruction parse_run(GrammarInput& in);
CmdInstruction parse_cmd(const GrammarInput& in);
EntrypointInstruction parse_entrypoint(const GrammarInput& in);
ShellInstruction parse_shell(const GrammarInput& in);
HealthcheckInstruction parse_healthcheck(const GrammarInput& in);
CopyInstruction parse_copy(GrammarInput& in);
EnvInstruction parse_env(const GrammarInput& in);
LabelInstruction parse_label(const GrammarInput& in);
ExposeInstruction parse_expose(const GrammarInput& in);
VolumeInstruction parse_volume(const GrammarInput& in);
OnBuildInstruction parse_onbuild(const GrammarInput& in);
/// The whole rest of USER, WORKDIR, STOPSIGNAL, MAINTAINER.
std::string parse_single_argument(const GrammarInput& in);

/// Dispatches. Throws SyntaxError for an unknown keyword, with a note when one is close.
InstructionBody parse_body(GrammarInput& in);

/// The description of `name` in the comments above an ARG or FROM; empty without one (PAR-71).
std::string find_description(const std::vector<std::string>& comments, const std::string& name);
/// Throws SyntaxError if any flag was written (PAR-46).
void refuse_flags(const Statement& statement);

}  // namespace imgbuild::parser
