// Every case of testdata/cases/lint.json, and the three renderings of a check.
#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "builder/check_call.h"
#include "builder/lint.h"
#include "parser/ignore_file.h"
#include "tests/support/test_data.h"
#include "tests/unit/builder/plan_cases.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using namespace imgbuild::tests;
using nlohmann::json;

namespace {

parser::IgnoreMatcher ignore_of(const json& test) {
  for (const auto& entry : test.value("context", json::array())) {
    if (entry["path"] != ".dockerignore") continue;
    return parser::IgnoreMatcher::parse(
        std::make_shared<const SourceText>(".dockerignore", entry["content"].get<std::string>()));
  }
  return {};
}

/// [rule, detail, line…], sorted: several findings of one instruction have no order.
json comparable(std::vector<json> warnings) {
  std::sort(warnings.begin(), warnings.end());
  return warnings;
}

json expected_warnings(const json& test) {
  std::vector<json> out;
  for (const auto& warning : test["warnings"])
    out.push_back({warning["rule"], warning["detail"], warning["lines"]});
  return comparable(out);
}

json lines_of(const SourceRange& where) {
  json out = json::array();
  for (int line = where.first_line; line > 0 && line <= where.last_line; ++line) out.push_back(line);
  return out;
}

json found_warnings(const CheckResult& result) {
  std::vector<json> out;
  for (const auto& warning : result.warnings)
    out.push_back({warning.rule, warning.detail, lines_of(warning.where)});
  return comparable(out);
}

/// What stays of the reference's message when its prefix, its suggestion and the words of its libraries are
/// taken off.
std::string core_of(std::string message) {
  if (message.starts_with("dockerfile parse error on line ")) message.erase(0, message.find(": ") + 2);
  for (const std::string tail : {" (did you mean ", ": strconv.ParseBool", ": failed to do request"}) {
    if (const auto at = message.find(tail); at != std::string::npos) message.resize(at);
  }
  if (message.find("failed to resolve source metadata") != std::string::npos)
    return "failed to resolve source metadata";
  return message;
}

CheckResult check(const std::string& text) {
  TableResolver bases;
  EvaluateOptions options;
  options.build_platform = options.target_platform = oci::Platform::parse("linux/amd64");
  return check_dockerfile(std::make_shared<const SourceText>("Dockerfile", text), options, bases);
}

}  // namespace

TEST_CASE("build checks find what the verified cases say") {
  const json cases = json::parse(read_test_data("cases/lint.json"))["cases"];
  for (const auto& test : cases) {
    const std::string id = test["id"];
    CAPTURE(id);
    CAPTURE(test["dockerfile"].get<std::string>());
    TableResolver bases;
    const parser::IgnoreMatcher ignore = ignore_of(test);
    EvaluateOptions options = case_options(test);
    options.ignore = &ignore;
    const CheckResult result = check_dockerfile(case_source(test), options, bases);
    CHECK(found_warnings(result) == expected_warnings(test));
    CHECK(result.status() == test["statuscode"].get<int>());
    CHECK(result.error.has_value() == test.contains("buildError"));
    if (!result.error || !test.contains("buildError")) continue;
    CHECK_MESSAGE(result.error->message.find(core_of(test["buildError"]["message"])) != std::string::npos,
                  result.error->message, " <-> ", test["buildError"]["message"]);
    const json lines = test["buildError"].value("lines", json::array());
    if (!lines.empty()) CHECK(lines_of(result.error->where.value_or(SourceRange{})) == lines);
  }
  CHECK(cases.size() == 144);
}

TEST_CASE("the text of a check shows each warning with two lines around it") {
  const auto result = check("FROM scratch\nLABEL a=b\nLABEL c=d\nCMD x\nLABEL e=f\n");
  CHECK(render_check_text(result) ==
        "WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n"
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals\n"
        "Dockerfile:4\n"
        "--------------------\n"
        "   2 |     LABEL a=b\n"
        "   3 |     LABEL c=d\n"
        "   4 | >>> CMD x\n"
        "   5 |     LABEL e=f\n"
        "--------------------\n");
}

TEST_CASE("the documents of a check are valid JSON with everything in them") {
  const auto result = check("FROM scratch AS X\nEXPOSE nope\n");
  const json full = json::parse(render_check_json(result));
  CHECK(full["warnings"][0]["ruleName"] == "StageNameCasing");
  CHECK(full["warnings"][0]["location"]["ranges"][0]["start"]["line"] == 1);
  CHECK(full["buildError"]["message"] == "invalid containerPort: nope");
  CHECK(full["sources"][0]["data"] == "RlJPTSBzY3JhdGNoIEFTIFgKRVhQT1NFIG5vcGUK");
  const json report = json::parse(render_check_report(result));
  CHECK(report["warnings"][0]["rule"] == "StageNameCasing");
  CHECK(report["warnings"][0]["line"] == 1);
  CHECK(report["error"]["line"] == 2);
  CHECK(json::parse(render_check_report(check("FROM scratch\n")))["error"].is_null());
}

TEST_CASE("a check survives bytes that are no text") {
  const auto result = check("FROM scratch\nLABEL a=\"\xff\xfe$X\"\n");
  CHECK(json::accept(render_check_json(result)));
  CHECK(json::accept(render_check_report(result)));
  CHECK(render_check_text(result).find('\xff') == std::string::npos);
}

TEST_CASE("names of secrets are known by their words, not by parts of words") {
  for (const char* name : {"TOKEN", "my_token", "API_KEY", "Db_Password_Old", "auth"})
    CHECK_MESSAGE(names_a_secret(name), name);
  for (const char* name : {"monkey", "KEYS", "PUBLIC_KEY", "TOKEN_FILE", "author", "", "_", "API-KEY"}) {
    CHECK_MESSAGE(!names_a_secret(name), name);
  }
}
