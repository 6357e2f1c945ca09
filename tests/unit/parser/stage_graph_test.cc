#include "parser/stage_graph.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "base/strings.h"
#include "parser/parser.h"

using namespace imgbuild;
using namespace imgbuild::parser;

namespace {

using Stages = std::vector<std::size_t>;

StageGraph graph(std::string text) {
  const Dockerfile file = parse_dockerfile(std::make_shared<const SourceText>("Dockerfile", std::move(text)));
  std::vector<std::string> bases;
  for (const auto& stage : file.stages) bases.push_back(stage.from_body().base);
  return StageGraph(file, bases);
}

}  // namespace

TEST_CASE("edges come from FROM, COPY --from by name or index, and mounts by name") {
  const StageGraph stages = graph(
      "FROM a AS one\nFROM b\nFROM one AS Three\nCOPY --from=1 a b\nCOPY --from=ONE a b\n"
      "RUN --mount=from=one,target=/x --mount=type=cache,target=/y x\nFROM c\nRUN --mount=from=0,target=/x "
      "x\n");
  CHECK(stages.edges(2).base == 0u);
  CHECK(stages.edges(2).copies_from == Stages{0, 1});
  CHECK(stages.edges(3).copies_from.empty());
  CHECK(stages.reachable(2) == Stages{0, 1, 2});
  CHECK(stages.reachable(3) == Stages{3});
}

TEST_CASE("FROM sees earlier stages only and compares letter by letter") {
  const StageGraph stages = graph("FROM b AS a\nFROM a AS b\nFROM B\nFROM b AS b\nFROM b\nFROM 0\n");
  CHECK_FALSE(stages.edges(0).base);
  CHECK(stages.edges(1).base == 0u);
  CHECK_FALSE(stages.edges(2).base);
  CHECK(stages.edges(3).base == 1u);
  CHECK(stages.edges(4).base == 3u);
  CHECK_FALSE(stages.edges(5).base);
}

TEST_CASE("a reference to a later stage fails only where it is needed, with its line") {
  const StageGraph stages = graph("FROM a AS early\nCOPY --from=late a b\nFROM a AS late\nFROM a\n");
  CHECK(stages.reachable(2) == Stages{2});
  try {
    stages.reachable(0);
    FAIL("accepted");
  } catch (const SyntaxError& error) {
    CHECK(error.message() ==
          "cannot copy from stage \"late\", it needs to be defined before current stage \"early\"");
    REQUIRE(error.where());
    CHECK(error.where()->first_line == 2);
  }
  CHECK_THROWS_WITH(
      graph("FROM a AS e\nRUN --mount=from=late,target=/m x\nFROM a AS late\n").reachable(0),
      "cannot mount from stage \"late\" to \"/m\", stage needs to be defined before current command");
}

TEST_CASE("a variable in COPY --from fails where the stage is needed") {
  const StageGraph stages = graph("FROM a AS x\nCOPY --from=$X a b\nFROM a\n");
  CHECK(stages.reachable(1) == Stages{1});
  CHECK_THROWS_WITH_AS(stages.reachable(0),
                       doctest::Contains("variable expansion is not supported for --from"), SyntaxError);
  CHECK_THROWS_AS(stages.find_copy_source("${X}", 1), SyntaxError);
  CHECK_FALSE(stages.find_copy_source("x$", 1));
}

TEST_CASE("stages that need themselves are refused, directly or through others") {
  CHECK_THROWS_WITH_AS(graph("FROM a AS me\nCOPY --from=me a b\n"),
                       "circular dependency detected on stage: me", SyntaxError);
  CHECK_THROWS_AS(graph("FROM a\nCOPY --from=0 a b\n"), SyntaxError);
  CHECK_THROWS_AS(graph("FROM a AS me\nRUN --mount=from=ME,target=/x x\n"), SyntaxError);
  CHECK_THROWS_AS(graph("FROM a AS x\nCOPY --from=y a b\nFROM x AS y\nFROM z\n"), SyntaxError);
}

TEST_CASE("an index must exist") {
  CHECK_THROWS_WITH_AS(graph("FROM a\nCOPY --from=7 a b\n"), "invalid stage index 7", SyntaxError);
  CHECK_THROWS_WITH_AS(graph("FROM a\nCOPY --from=-1 a b\n"), "invalid stage index -1", SyntaxError);
  CHECK_THROWS_AS(graph("FROM a\nCOPY --from=99999999999999999999 a b\n"), SyntaxError);
  CHECK(graph("FROM a\nCOPY --from=1x a b\n").reachable(0) == Stages{0});
}

TEST_CASE("sources found later, as for triggers, follow the same rules") {
  StageGraph stages = graph("FROM a AS one\nFROM b AS two\nFROM c AS three\n");
  CHECK(stages.find_copy_source("One", 1) == 0u);
  CHECK(stages.find_copy_source("0", 1) == 0u);
  CHECK_FALSE(stages.find_copy_source("alpine:3", 1));
  CHECK_FALSE(stages.find_mount_source("0", 1));
  CHECK(stages.find_mount_source("ONE", 1) == 0u);
  CHECK_THROWS_AS(stages.find_copy_source("three", 1), SyntaxError);
  CHECK_THROWS_AS(stages.find_copy_source("1", 1), SyntaxError);
  CHECK_THROWS_AS(stages.find_mount_source("three", 1), SyntaxError);
  stages.add_edge(2, 0);
  CHECK(stages.reachable(2) == Stages{0, 2});
}

TEST_CASE("the target is a name in any letter case, or the last stage") {
  const StageGraph stages = graph("FROM a AS one\nFROM b AS Two\nFROM c AS one\nFROM d\n");
  CHECK(stages.find_target(std::nullopt) == 3);
  CHECK(stages.find_target("") == 3);
  CHECK(stages.find_target("TWO") == 1);
  CHECK(stages.find_target("one") == 2);
  CHECK_THROWS_WITH_AS(stages.find_target("0"), "target stage \"0\" could not be found", Error);
  try {
    stages.find_target("twoo");
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.notes() == std::vector<std::string>{"did you mean two?"});
  }
}

TEST_CASE("a thousand stages that use each other are no burden") {
  std::string text;
  for (int i = 0; i < 1'000; ++i) {
    text += cat("FROM a AS s", i, "\n");
    for (int j = 1; j <= 9 && j <= i; ++j) text += cat("COPY --from=s", i - j, " a b\n");
  }
  CHECK(graph(std::move(text)).reachable(999).size() == 1'000);
}
