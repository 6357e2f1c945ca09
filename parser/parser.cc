#include "parser/parser.h"

#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "parser/directives.h"
#include "parser/grammar.h"
#include "parser/heredoc.h"
#include "parser/lexer.h"
#include "parser/limits.h"
#include "parser/place_of.h"
#include "parser/word_error.h"

namespace imgbuild::parser {

namespace {

/// HDC-1. ONBUILD counts as the instruction it holds.
bool may_hold_heredocs(const Statement& statement) {
  if (statement.keyword == Keyword::onbuild) {
    const Statement trigger = split_statement(statement.rest);
    return trigger.keyword != Keyword::onbuild && may_hold_heredocs(trigger);
  }
  const bool takes = statement.keyword == Keyword::run || statement.keyword == Keyword::copy ||
                     statement.keyword == Keyword::add;
  return takes && !statement.json;
}

/// Turns one logical line into an instruction, reading the here-documents it announces. Errors carry the
/// range of everything read for it.
Instruction parse_instruction(Lexer& lexer, LogicalLine& line, char escape) {
  try {
    const Statement statement = split_statement(line.text);
    std::vector<Heredoc> heredocs;
    if (may_hold_heredocs(statement)) {
      heredocs = find_heredoc_markers(line.text);
      lexer.read_heredocs(heredocs, line);
    }
    GrammarInput in{statement, std::move(heredocs), line.comments, escape};
    InstructionBody body = parse_body(in);
    return {std::move(body), statement.word, lexer.range(line.first_line, line.last_line),
            std::move(line.text), std::move(line.comments)};
  } catch (WordError& error) {
    error.locate(place_of(error.word(), lexer.range(line.first_line, line.last_line)));
    throw;
  } catch (Error& error) {
    error.locate(lexer.range(line.first_line, line.last_line));
    throw;
  }
}

void add_instruction(Instruction instruction, Dockerfile& file) {
  if (std::holds_alternative<FromInstruction>(instruction.body)) {
    if (file.stages.size() == kMaxStages) {
      throw SyntaxError(cat("more than ", kMaxStages, " build stages"), instruction.where);
    }
    file.stages.push_back({std::move(instruction), {}});
  } else if (!file.stages.empty()) {
    file.stages.back().commands.push_back(std::move(instruction));
  } else if (std::holds_alternative<ArgInstruction>(instruction.body)) {
    file.global_args.push_back(std::move(instruction));
  } else {
    SyntaxError error("no build stage in current context", instruction.where);
    error.add_note("a Dockerfile starts with FROM; only ARG may stand before it");
    throw error;
  }
}

void check_size(const std::shared_ptr<const SourceText>& source) {
  if (source->text().empty()) throw SyntaxError("the Dockerfile cannot be empty", {source, 0, 0, 0, 0});
  if (source->text().size() > kMaxDockerfileBytes) {
    throw SyntaxError("the Dockerfile is larger than 16 MiB", {source, 0, 0, 0, 0});
  }
}

}  // namespace

Dockerfile parse_dockerfile(std::shared_ptr<const SourceText> source) {
  check_size(source);
  Dockerfile file;
  file.source = source;
  Directives directives = read_directives(source);
  file.escape = directives.escape;
  file.syntax = std::move(directives.syntax);
  file.check = std::move(directives.check);
  file.check_line = directives.check_line;

  Lexer lexer(source, file.escape);
  LogicalLine line;
  std::size_t count = 0;
  while (lexer.next(line, file.warnings)) {
    if (++count > kMaxInstructions) {
      throw SyntaxError(cat("more than ", kMaxInstructions, " instructions"),
                        lexer.range(line.first_line, line.last_line));
    }
    add_instruction(parse_instruction(lexer, line, file.escape), file);
  }
  const int last = lexer.line_number();
  if (count == 0) throw SyntaxError("file with no instructions", lexer.range(last, last));
  if (file.stages.empty()) {
    throw SyntaxError("dockerfile contains no stages to build", lexer.range(last, last));
  }
  return file;
}

Instruction parse_trigger(const std::string& expression, const SourceRange& where) {
  try {
    Lexer lexer(std::make_shared<const SourceText>("ONBUILD", expression), '\\');
    LogicalLine line;
    std::vector<ParseWarning> warnings;
    if (!lexer.next(line, warnings)) throw SyntaxError("the ONBUILD trigger is empty");
    Instruction instruction = parse_instruction(lexer, line, '\\');
    const bool forbidden = std::holds_alternative<FromInstruction>(instruction.body) ||
                           std::holds_alternative<OnBuildInstruction>(instruction.body);
    if (forbidden)
      throw SyntaxError(cat(to_upper(instruction.keyword), " isn't allowed as an ONBUILD trigger"));
    if (lexer.next(line, warnings)) throw SyntaxError("an ONBUILD trigger must be a single instruction");
    instruction.where = where;
    return instruction;
  } catch (const SyntaxError& error) {
    // Lines of the trigger mean nothing to the user, who sees the child's FROM.
    SyntaxError located(error.message(), where);
    for (const auto& note : error.notes()) located.add_note(note);
    located.add_context(cat("parsing the ONBUILD trigger \"", printable(expression), "\""));
    throw located;
  }
}

}  // namespace imgbuild::parser
