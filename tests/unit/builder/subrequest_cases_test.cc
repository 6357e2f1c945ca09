// Every case of testdata/cases/subrequests.json.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "builder/subrequests.h"
#include "parser/parser.h"
#include "tests/support/test_data.h"
#include "tests/unit/builder/plan_cases.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using namespace imgbuild::tests;
using nlohmann::json;

namespace {

/// Replaces each location by the lines it covers, as the case file has them, and drops the sources.
void reduce(json& node) {
  if (node.is_object()) {
    node.erase("sources");
    if (node.contains("location")) {
      json lines = json::array();
      for (const auto& range : node["location"]["ranges"]) {
        for (int line = range["start"]["line"]; line <= range["end"]["line"]; ++line) lines.push_back(line);
      }
      node.erase("location");
      node["lines"] = lines;
    }
  }
  for (auto& child : node) {
    if (child.is_structured()) reduce(child);
  }
}

struct Answer {
  json result;
  std::string text;
};

Answer answer(const json& test) {
  const Subrequest request = parse_subrequest(test["request"].get<std::string>());
  const auto source = case_source(test);
  const auto file = parser::parse_dockerfile(source);
  TableResolver bases;
  switch (request) {
    case Subrequest::outline: {
      const auto outline = outline_of(file, case_options(test), bases);
      return {json::parse(render_outline_json(outline, source)), render_outline_text(outline)};
    }
    case Subrequest::targets: {
      const auto targets = targets_of(file);
      return {json::parse(render_targets_json(targets, source)), render_targets_text(targets)};
    }
    case Subrequest::describe:
      return {json::parse(render_description_json()), render_description_text()};
    case Subrequest::lint:
      break;
  }
  FAIL("no case asks for checks");
  return {};
}

}  // namespace

TEST_CASE("sub-requests answer as the verified cases do") {
  const json cases = json::parse(read_test_data("cases/subrequests.json"))["cases"];
  for (const auto& test : cases) {
    const std::string id = test["id"];
    CAPTURE(id);
    CAPTURE(test["dockerfile"].get<std::string>());
    try {
      Answer got = answer(test);
      REQUIRE(!test.contains("error"));
      reduce(got.result);
      CHECK(got.result == test["result"]);
      CHECK(got.text == test["text"].get<std::string>());
    } catch (const Error& error) {
      REQUIRE_MESSAGE(test.contains("error"), full_text(error));
      CHECK_MESSAGE(test["error"].get<std::string>().find(error.message()) != std::string::npos,
                    error.message());
    }
  }
  CHECK(cases.size() == 19);
}

TEST_CASE("an argument that a stage takes from a global is shown once, with the globals behind it") {
  TableResolver bases;
  EvaluateOptions options;
  const auto file = parser::parse_dockerfile(std::make_shared<const SourceText>(
      "Dockerfile", "ARG A=1\nARG B=$A\nARG UNUSED=x\nFROM scratch AS one\nARG B\nFROM one\nARG B\nARG C\n"));
  const Outline outline = outline_of(file, options, bases);
  REQUIRE(outline.args.size() == 3);
  CHECK(outline.args[0].name == "A");
  CHECK(outline.args[1].name == "B");
  CHECK(outline.args[1].value == "1");
  CHECK(outline.args[2].name == "C");
  CHECK(!outline.args[2].value);
}
