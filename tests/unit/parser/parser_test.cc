#include "parser/parser.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "base/strings.h"
#include "parser/dump.h"
#include "tests/support/text.h"

using namespace imgbuild;
using namespace imgbuild::parser;
using tests::repeated;

namespace {

Dockerfile parse(std::string text) {
  return parse_dockerfile(std::make_shared<const SourceText>("Dockerfile", std::move(text)));
}

struct Failure {
  std::string message;
  int first_line = -1;
  int last_line = -1;
  std::vector<std::string> notes;
};

Failure failure_of(std::string text) {
  try {
    parse(std::move(text));
  } catch (const SyntaxError& error) {
    Failure failure{error.message(), -1, -1, error.notes()};
    if (error.where()) {
      failure.first_line = error.where()->first_line;
      failure.last_line = error.where()->last_line;
    }
    return failure;
  }
  FAIL("parsed without an error");
  return {};
}

template <typename Body>
const Body& command(const Dockerfile& file, std::size_t index = 0) {
  return std::get<Body>(file.stages.at(0).commands.at(index).body);
}

}  // namespace

TEST_CASE("a misspelled keyword or flag brings a suggestion as a note, in the letter case of the user") {
  CHECK(failure_of("FROM scratch\nCOYP a b\n").notes == std::vector<std::string>{"did you mean COPY?"});
  CHECK(failure_of("FROM scratch\ncoyp a b\n").notes == std::vector<std::string>{"did you mean copy?"});
  CHECK(failure_of("FROM scratch\nCOPY --chwon=1 a b\n").notes ==
        std::vector<std::string>{"did you mean --chown?"});
  CHECK(failure_of("FROM scratch\nXYZZYX a b\n").notes.empty());
}

TEST_CASE("an error points at every line of its instruction, and at no other") {
  const Failure failure = failure_of("FROM scratch\n# c\nCOPY --bogus \\\n  a \\\n\n  b\nRUN x\n");
  CHECK(failure.first_line == 3);
  CHECK(failure.last_line == 6);
}

TEST_CASE("a mistake in one word of a one-line instruction is pointed at") {
  const auto columns = [](std::string text) {
    try {
      parse(std::move(text));
    } catch (const SyntaxError& error) {
      REQUIRE(error.where());
      return std::pair(error.where()->first_column, error.where()->last_column);
    }
    FAIL("parsed without an error");
    return std::pair(-1, -1);
  };
  using Columns = std::pair<int, int>;
  CHECK(columns("FROM scratch\n  COYP a b\n") == Columns(3, 7));
  CHECK(columns("FROM scratch\nCOPY --bogus=x a --bogusx\n") == Columns(6, 13));
  CHECK(columns("FROM scratch AS 9x\n") == Columns(17, 19));
  CHECK(columns("FROM scratch\nENV A=1 B\n") == Columns(9, 10));
  CHECK(columns("FROM scratch\nRUN --network=foo ls\n") == Columns(15, 18));
  CHECK(columns("FROM scratch\nCOPY --link --link a b\n") == Columns(0, 0));  // which of the two?
  CHECK(columns("FROM scratch\nCOPY \\\n --bogus a b\n") == Columns(0, 0));
}

TEST_CASE("string flags without a value count as not written") {
  const Dockerfile file = parse("FROM --platform= a\nCOPY --from= --chown= a b\n");
  CHECK_FALSE(file.stages[0].from_body().platform);
  CHECK_FALSE(command<CopyInstruction>(file).from);
}

TEST_CASE("a file without instructions, without stages or without bytes is refused") {
  CHECK(failure_of("").message == "the Dockerfile cannot be empty");
  CHECK(failure_of("# c\n\n").message == "file with no instructions");
  const Failure no_stage = failure_of("ARG A=1\nARG B\n");
  CHECK(no_stage.message == "dockerfile contains no stages to build");
  CHECK(no_stage.first_line == 2);
}

TEST_CASE("the first mistake of a file is the one reported") {
  CHECK(failure_of("FROM scratch\nFOO\nRUN <<EOF\n").first_line == 2);
  CHECK(failure_of("FROM scratch\nENV A\nFOO\n").first_line == 2);
}

TEST_CASE("a line over the limit is refused where it stands, also inside a here-document") {
  const std::string long_line(65'536, 'x');
  const std::string longest_line(65'531, 'x');
  CHECK(failure_of(long_line + "\n").first_line == 1);
  CHECK(failure_of("FROM scratch\nRUN " + long_line + "\n").first_line == 2);
  CHECK(failure_of("FROM scratch\nRUN <<EOF\n" + long_line + "\nEOF\n").first_line == 3);
  CHECK(parse("FROM scratch\nRUN " + longest_line + "\n").stages.size() == 1);
}

TEST_CASE("limits on stages, instructions, here-documents and the whole file hold") {
  CHECK(parse(repeated("FROM scratch\n", 1'000)).stages.size() == 1'000);
  CHECK(failure_of(repeated("FROM scratch\n", 1'001)).first_line == 1'001);
  CHECK(parse("FROM a\n" + repeated("RUN x\n", 9'999)).stages[0].commands.size() == 9'999);
  CHECK(failure_of("FROM a\n" + repeated("RUN x\n", 100'000)).first_line == 100'001);
  const std::string kilobyte = std::string(1'023, 'x') + "\n";
  CHECK(parse("FROM a\nRUN <<E\n" + repeated(kilobyte, 8'192) + "E\n").stages.size() == 1);
  CHECK(failure_of("FROM a\nRUN <<E\n" + repeated(kilobyte, 8'193) + "E\n").message.find("8 MiB") !=
        std::string::npos);
  CHECK(failure_of("FROM a\n" + repeated(kilobyte, 16'384)).message.find("16 MiB") != std::string::npos);
}

TEST_CASE("large files of every shape stay linear") {
  // A quadratic step anywhere would make these take minutes.
  const std::size_t megabyte = 1u << 20;
  CHECK(command<RunInstruction>(parse("FROM a\nRUN " + repeated("x \\\n", megabyte / 4) + "y\n"))
            .command.words.size() == 1);
  CHECK(command<EnvInstruction>(parse("FROM a\nENV " + repeated("A=1 \\\n", megabyte / 6) + "B=2\n"))
            .pairs.size() == megabyte / 6 + 1);
  CHECK(parse("FROM a\nRUN cat" + repeated(" <<E", 10'000) + "\n" + repeated("E\n", 10'000)).stages.size() ==
        1);
  CHECK(parse("FROM a\n" + repeated("RUN <<E\nx\nE\n", 9'000)).stages[0].commands.size() == 9'000);
  CHECK(parse("FROM a\nRUN " + repeated("\"${a:-'\\\n", megabyte / 9) + "\n").stages.size() == 1);
  CHECK(command<CmdInstruction>(parse("FROM a\nCMD [" + repeated("\"a\",\\\n", megabyte / 6) + "\"b\"]\n"))
            .command.words.size() == megabyte / 6 + 1);
  CHECK(parse(repeated("# c\n", megabyte / 4) + "FROM a\n").stages.size() == 1);
  CHECK(parse("FROM a\nRUN " + repeated("<<< \\\n", megabyte / 6) + "\n").stages.size() == 1);
}

TEST_CASE("a bare RUN or CMD is an empty shell command") {
  const Dockerfile file = parse("FROM a\nRUN\nCMD []\n");
  CHECK(command<RunInstruction>(file).command.words == std::vector<std::string>{""});
  CHECK(command<RunInstruction>(file).command.shell_form);
  CHECK(command<CmdInstruction>(file, 1).command.words.empty());
  CHECK_FALSE(command<CmdInstruction>(file, 1).command.shell_form);
}

TEST_CASE("flags may be written over several lines, with quotes and escapes, and end at --") {
  const Dockerfile file =
      parse("FROM a\nRUN --mount=type=cache,target=/c \\\n# c\n --network=none --device='a b' -- --x\n");
  const auto& run = command<RunInstruction>(file);
  CHECK(run.mounts == std::vector<std::string>{"type=cache,target=/c"});
  CHECK(run.network == "none");
  CHECK(run.devices == std::vector<std::string>{"a b"});
  CHECK(run.command.words == std::vector<std::string>{"--x"});
}

TEST_CASE("with a backtick as escape a backslash is ordinary text") {
  const Dockerfile file = parse("# escape=`\nFROM a\nCOPY c:\\x\\ `\n  d:\\\nENV A=b` c\n");
  CHECK(file.escape == '`');
  CHECK(command<CopyInstruction>(file).sources == std::vector<std::string>{"c:\\x\\"});
  CHECK(command<CopyInstruction>(file).destination == "d:\\");
  CHECK(command<EnvInstruction>(file, 1).pairs == std::vector<KeyValue>{{"A", "b` c"}});
}

TEST_CASE("bytes that are no UTF-8 pass through unchanged") {
  const Dockerfile file = parse("FROM a\nRUN \xff\xfe <<E\n\x80\xc3\nE\nENV A=\xe9\n");
  CHECK(command<RunInstruction>(file).command.words[0] == "\xff\xfe <<E");
  CHECK(command<RunInstruction>(file).command.heredocs[0].data == "\x80\xc3\n");
  CHECK(command<EnvInstruction>(file, 1).pairs[0].value == "\xe9");
}

TEST_CASE("a NUL byte is text like any other") {
  const Dockerfile file = parse(std::string("FROM a\nRUN x\0y\n", 15));
  CHECK(command<RunInstruction>(file).command.words[0] == std::string_view("x\0y", 3));
}

TEST_CASE("shell constructs with << are here-documents only where the shell would think so") {
  const auto heredocs = [](const std::string& line) {
    return command<RunInstruction>(parse("FROM a\nRUN " + line + "\nE\nE\n")).command.heredocs.size();
  };
  CHECK(heredocs("cat <<E <<-E") == 2);
  for (const char* line :
       {"cat <<\"\" # \\", "a<<E \\", "echo '<<E' \\", "echo \"${x:-\" <<E\"}\" \\", "cat <<<E \\"}) {
    CAPTURE(line);
    // Continued into the next line, so that what follows is no instruction of its own.
    CHECK(command<RunInstruction>(parse("FROM a\nRUN " + std::string(line) + "\nE\n"))
              .command.heredocs.empty());
  }
}

TEST_CASE("COPY refuses a here-document it could not name") {
  CHECK(failure_of("FROM a\nCOPY << E /x\nE\n").message.find("blanks") != std::string::npos);
  CHECK(failure_of("FROM a\nCOPY <<'a b' /x\na b\n").message.find("blanks") != std::string::npos);
}

TEST_CASE("comments above an instruction travel with it and feed descriptions") {
  const Dockerfile file = parse(
      "# check=skip=all\n\n# A: not this\n# A the first\n# A the second\nARG A\n# x\n#\n  # B no\nARG "
      "B\nFROM a\n");
  CHECK(std::get<ArgInstruction>(file.global_args[0].body).args[0].doc == "the first");
  CHECK(file.global_args[0].comments.size() == 4);
  CHECK(std::get<ArgInstruction>(file.global_args[1].body).args[0].doc.empty());
  CHECK(file.global_args[1].comments == std::vector<std::string>{"# B no"});
}

TEST_CASE("a JSON form takes every JSON escape and nothing that JSON forbids") {
  const auto words = [](const std::string& text) {
    return command<CmdInstruction>(parse("FROM a\nCMD " + text + "\n")).command;
  };
  CHECK(words(R"(["\u00e9\ud83d\ude00\ud83dx","\/\b"])").words ==
        std::vector<std::string>{"é😀\uFFFDx", "/\b"});
  for (const char* text : {R"(["a)", R"(["a"],)", R"(["\x41"])", R"(["a", tru])", R"([01])", R"([1.])",
                           R"([,"a"])", R"(["\u12"])", "[\"\t\"]", R"([{"a" 1}])"}) {
    CAPTURE(text);
    CHECK(words(text).shell_form);
  }
  for (const char* text : {R"([1e-5])", R"([{"a":[1,{}]}])", R"([true,false,null])", R"(["a",-0.5])"}) {
    CAPTURE(text);
    CHECK(failure_of("FROM a\nCMD " + std::string(text) + "\n").message.find("strings only") !=
          std::string::npos);
  }
  CHECK(failure_of("FROM a\nCMD " + std::string(100, '[') + "\n").message.find("nested") !=
        std::string::npos);
}

TEST_CASE("an ONBUILD trigger is one instruction, and its mistakes are shown where it runs") {
  const auto source = std::make_shared<const SourceText>("Dockerfile", "FROM x\n");
  const SourceRange where{source, 1, 1, 0, 0};
  const Instruction run = parse_trigger("RUN <<-E\n\techo\nE", where);
  CHECK(std::get<RunInstruction>(run.body).command.heredocs[0].stripped() == "echo\n");
  CHECK(run.where.first_line == 1);
  CHECK(run.where.text == source);
  CHECK(parse_trigger("copy --from=x a b", where).keyword == "copy");
  for (const char* bad : {"", "# c", "BOGUS x", "RUN a\nRUN b", "FROM x", "ONBUILD RUN x", "COPY a"}) {
    CAPTURE(bad);
    try {
      parse_trigger(bad, where);
      FAIL("accepted");
    } catch (const SyntaxError& error) {
      REQUIRE(error.where());
      CHECK(error.where()->text == source);
      CHECK_FALSE(error.context().empty());
    }
  }
}

TEST_CASE("ONBUILD finds mistakes in the words of its trigger, but leaves unknown instructions alone") {
  CHECK(failure_of("FROM a\nONBUILD ENV A\n").message == "ENV must have two arguments");
  CHECK(failure_of("FROM a\nONBUILD CMD [1]\n").message.find("strings only") != std::string::npos);
  CHECK(command<OnBuildInstruction>(parse("FROM a\nONBUILD  NEW  x\n")).expression == "NEW  x");
}

TEST_CASE("the dump names every part of the tree and lets nothing act on the terminal") {
  const std::string text =
      dump(parse("# syntax=docker/dockerfile:1\nARG V=1\nFROM --platform=linux/arm64 a AS B\nRUN "
                 "--mount=type=cache,target=/c <<E\nx\x1b\nE\n"
                 "COPY --from=0 --link a b/\nHEALTHCHECK --interval=90s CMD [\"x\"]\nRUN a \\\n\n b\n"));
  for (const char* part :
       {"syntax \"docker/dockerfile:1\"", "global arguments", "stage 0", "FROM (line 3)",
        "platform: \"linux/arm64\"", "name: \"b\"", "RUN (lines 4-6)", "mount: \"type=cache,target=/c\"",
        "body: \"x\\x1b\\n\"", "link: yes", "interval: 1m30s", "warning NoEmptyContinuation"}) {
    CAPTURE(part);
    CHECK(text.find(part) != std::string::npos);
  }
  CHECK(text.find('\x1b') == std::string::npos);
}
