#include "parser/grammar.h"

#include "base/strings.h"
#include "parser/flags.h"
#include "parser/word_error.h"

namespace imgbuild::parser {

void refuse_flags(const Statement& statement) { Flags(statement.flags, {}); }

InstructionBody parse_body(GrammarInput& in) {
  if (!in.statement.keyword) {
    WordError error(cat("unknown instruction: ", printable(in.statement.word)), in.statement.word);
    if (const auto close = nearest(in.statement.word, keyword_names())) {
      // In the user's own letter case, so that it can be pasted.
      const bool lower = in.statement.word == to_lower(in.statement.word);
      error.add_note(cat("did you mean ", lower ? to_lower(*close) : *close, "?"));
    }
    throw error;
  }
  switch (*in.statement.keyword) {
    case Keyword::add:
    case Keyword::copy:
      return parse_copy(in);
    case Keyword::arg:
      return parse_arg(in);
    case Keyword::cmd:
      return parse_cmd(in);
    case Keyword::entrypoint:
      return parse_entrypoint(in);
    case Keyword::env:
      return parse_env(in);
    case Keyword::expose:
      return parse_expose(in);
    case Keyword::from:
      return parse_from(in);
    case Keyword::healthcheck:
      return parse_healthcheck(in);
    case Keyword::label:
      return parse_label(in);
    case Keyword::maintainer:
      return MaintainerInstruction{parse_single_argument(in)};
    case Keyword::onbuild:
      return parse_onbuild(in);
    case Keyword::run:
      return parse_run(in);
    case Keyword::shell:
      return parse_shell(in);
    case Keyword::stopsignal:
      return StopSignalInstruction{parse_single_argument(in)};
    case Keyword::user:
      return UserInstruction{parse_single_argument(in)};
    case Keyword::volume:
      return parse_volume(in);
    case Keyword::workdir:
      return WorkdirInstruction{parse_single_argument(in)};
  }
  throw SyntaxError("unknown instruction");  // not reached: the switch is complete
}

}  // namespace imgbuild::parser
