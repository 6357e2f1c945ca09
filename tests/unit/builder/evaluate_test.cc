#include "builder/evaluate.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "builder/plan_dump.h"
#include "parser/parser.h"
#include "tests/support/test_data.h"
#include "tests/unit/builder/plan_cases.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using namespace imgbuild::tests;

namespace {

EvaluateOptions amd64() { return case_options(nlohmann::json::object()); }

Plan plan_of(const std::string& text, TableResolver& bases, const EvaluateOptions& options = amd64()) {
  return evaluate(parser::parse_dockerfile(std::make_shared<const SourceText>("Dockerfile", text)), options,
                  bases, {});
}
Plan plan_of(const std::string& text, const EvaluateOptions& options = amd64()) {
  TableResolver bases;
  return plan_of(text, bases, options);
}

/// The message and line of the failure.
std::string failure_of(const std::string& text, const EvaluateOptions& options = amd64()) {
  try {
    plan_of(text, options);
  } catch (const Error& error) {
    return cat(error.where() ? error.where()->first_line : 0, ": ", error.message());
  }
  return "no failure";
}

template <typename Op>
const Op& last_op(const Plan& plan) {
  return std::get<Op>(plan.stages.at(plan.target).steps.back().op);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("only stages the target needs are planned, numbered in file order") {
  const Plan plan = plan_of(
      "FROM nosuch AS unused\nFROM scratch AS a\nCOPY f /f\nFROM nosuch2\nFROM scratch\nCOPY --from=a /f "
      "/g\n");
  REQUIRE(plan.stages.size() == 2);
  CHECK(plan.target == 1);
  CHECK(std::get<FromStage>(last_op<CopyOp>(plan).from).stage == 0);
}

TEST_CASE("a trigger may need a stage nobody else needs") {
  const Plan plan = plan_of(
      "FROM scratch AS src\nCOPY f /f\nFROM scratch AS base\nONBUILD COPY --from=src /f /g\nFROM base\n");
  REQUIRE(plan.stages.size() == 3);
  const PlanStep& step = plan.stages[plan.target].steps.at(0);
  CHECK(step.from_trigger);
  CHECK(step.title == "ONBUILD COPY --from=src /f /g");
  CHECK(step.where.first_line == 5);
  CHECK(std::get<FromStage>(std::get<CopyOp>(step.op).from).stage == 0);
}

TEST_CASE("COPY --from takes a variable that names a stage, and nothing else") {
  const Plan plan =
      plan_of("FROM scratch AS one\nCOPY f /f\nFROM scratch\nARG Z=one\nCOPY --from=$Z /f /g\n");
  CHECK(plan.stages.size() == 2);
  CHECK(std::get<FromStage>(last_op<CopyOp>(plan).from).stage == 0);
  const std::string refused = failure_of("FROM scratch\nARG Z=busybox\nCOPY --from=$Z a /x\n");
  CHECK(refused.starts_with("3: "));
  CHECK(contains(refused, "variable expansion is not supported for --from"));
  CHECK(
      contains(failure_of("FROM scratch\nCOPY --from=$NONE a /x\n"), "variable expansion is not supported"));
}

TEST_CASE("a named context replaces a stage and its base is never asked for") {
  TableResolver bases;
  bases.add_context("dep", {FromContext{"dep"}, {}, "context dep"});
  EvaluateOptions options = amd64();
  options.named_contexts = {"dep"};
  const Plan plan = plan_of("FROM nosuch AS dep\nRUN --network=host x\nFROM scratch\nCOPY --from=dep a /a\n",
                            bases, options);
  REQUIRE(plan.stages.size() == 2);
  CHECK(std::get<FromContext>(plan.stages[0].base).name == "dep");
  CHECK(plan.stages[0].steps.empty());
  CHECK(std::none_of(bases.asked.begin(), bases.asked.end(),
                     [](const auto& a) { return a.starts_with("image"); }));
}

TEST_CASE("RUN sees ENV and ARG, and proxies apart from them") {
  EvaluateOptions options = amd64();
  options.build_args = {{"HTTP_PROXY", "up"}, {"http_proxy", "low"}, {"UNDECLARED", "x"}};
  const Plan plan = plan_of("FROM busybox\nENV A=1\nARG B=2\nARG UNSET\nRUN env\n", options);
  const RunOp& run = last_op<RunOp>(plan);
  const auto env = run.scope.entries();
  CHECK(std::vector<std::string>(env.begin() + 1, env.end()) == std::vector<std::string>{"A=1", "B=2"});
  CHECK(run.unkeyed_env == std::vector<std::string>{"http_proxy=low", "HTTP_PROXY=low"});
  CHECK(run.hostname == "buildkitsandbox");
}

TEST_CASE("a script with a shebang becomes a file, other here-documents the command") {
  const RunOp script = last_op<RunOp>(plan_of("FROM busybox\nRUN <<EOF\n#!/bin/sh -e\necho\nEOF\n"));
  REQUIRE(script.script);
  CHECK(script.script->second == "#!/bin/sh -e\necho\n");
  CHECK(script.argv.back() == "/dev/pipes/EOF");
  const Plan plain = plan_of("FROM busybox\nRUN <<-EOF\n\techo 1\n\techo 2\nEOF\n");
  CHECK(last_op<RunOp>(plain).argv.back() == "echo 1\necho 2\n");
  CHECK(plain.stages[0].steps[0].title == "RUN <<-EOF (echo 1...)");
}

TEST_CASE("mounts are joined to WORKDIR and checked") {
  const std::string start = "FROM busybox\nWORKDIR /w\nRUN --mount=";
  const RunOp run = last_op<RunOp>(plan_of(start + "type=cache,target=c true\n"));
  CHECK(run.mounts.at(0).target == "/w/c");
  CHECK(!run.mounts[0].options.uid);
  CHECK(last_op<RunOp>(plan_of(start + "type=secret,id=a/b true\n")).mounts.at(0).target == "/run/secrets/b");
  CHECK(last_op<RunOp>(plan_of(start + "type=secret,id=a,env=E true\n")).mounts.at(0).target.empty());
  for (const char* target :
       {"/", "..", "/proc/self", "/sys", "/dev", "/dev/null", "/dev/shmem", "/x/../proc"}) {
    CHECK_MESSAGE(
        contains(failure_of(start + "type=tmpfs,target=" + target + " true\n"), "3: invalid mount target"),
        target);
  }
  CHECK(failure_of(start + "type=tmpfs,target=/dev/shm/x true\n") == "no failure");
  CHECK(failure_of(start + "type=tmpfs,target=/dev/shm,size=128m true\n") == "no failure");
  CHECK(contains(failure_of(start + "type=secret,id=a,target=/dev/shm true\n"), "3: invalid mount target"));
  CHECK(failure_of(start + "type=tmpfs,target=/process true\n") == "no failure");
}

TEST_CASE("a mount without a target covers the working directory") {
  const std::string start = "FROM busybox\nWORKDIR /w\nRUN --mount=";
  for (const char* mount : {"type=bind", "source=/", "from=busybox", "type=cache", "type=tmpfs"})
    CHECK_MESSAGE(last_op<RunOp>(plan_of(start + mount + " true\n")).mounts.at(0).target == "/w", mount);
  CHECK(contains(failure_of("FROM busybox\nRUN --mount=type=bind true\n"), "2: invalid mount target \"/\""));
  CHECK(contains(failure_of("FROM busybox\nWORKDIR /\nRUN --mount=type=tmpfs true\n"),
                 "3: invalid mount target"));
}

TEST_CASE("entitlements are asked for") {
  CHECK(failure_of("FROM busybox\nRUN --network=host x\n") == "2: network.host is not allowed");
  CHECK(failure_of("FROM busybox\nRUN --security=insecure x\n") == "2: security.insecure is not allowed");
  CHECK(contains(failure_of("FROM busybox\nRUN --device=a/b=c x\n"), "is not allowed: the device feature"));
  EvaluateOptions options = amd64();
  options.allow_network_host = options.allow_insecure = true;
  CHECK(last_op<RunOp>(plan_of("FROM busybox\nRUN --network=host x\n", options)).network == "host");
  options.default_network = "bogus";
  CHECK(contains(failure_of("FROM busybox\nRUN x\n", options), "invalid netmode bogus"));
}

TEST_CASE("destinations keep their trailing slash and never leave the root") {
  const auto destination = [](const std::string& text) {
    return last_op<CopyOp>(plan_of("FROM scratch\nWORKDIR /w\nCOPY a " + text + "\n")).destination;
  };
  CHECK(destination("x") == "/w/x");
  CHECK(destination(".") == "/w/");
  CHECK(destination("./d/.") == "/w/d/");
  CHECK(destination("../../../x/") == "/x/");
  CHECK(destination("/") == "/");
}

TEST_CASE("COPY and ADD refuse sources and flags that cannot work") {
  CHECK(contains(failure_of("FROM scratch\nCOPY http://h/f /x\n"), "2: source can't be a URL for COPY"));
  CHECK(
      contains(failure_of("FROM scratch\nCOPY https://h/r.git /x\n"), "source can't be a git ref for COPY"));
  CHECK(contains(failure_of("FROM scratch\nADD --checksum=md5:00 http://h/f /x\n"),
                 "unsupported digest algorithm"));
  CHECK(contains(failure_of("FROM scratch\nADD --checksum=abc http://h/f /x\n"),
                 "invalid checksum digest format"));
  CHECK(contains(failure_of("FROM scratch\nADD --checksum=sha256:0 a /x\n"),
                 "checksum requires HTTP(S) or Git sources"));
  CHECK(contains(failure_of("FROM scratch\nCOPY --chmod=u+q a /x\n"), "2: "));
}

TEST_CASE("the source date comes from the build argument, else from a global default") {
  const std::string global = "ARG SOURCE_DATE_EPOCH=5\nFROM scratch\n";
  CHECK(plan_of(global).source_date_epoch == 5);
  CHECK(!plan_of("FROM scratch\nARG SOURCE_DATE_EPOCH=5\n").source_date_epoch);
  EvaluateOptions options = amd64();
  options.build_args = {{"SOURCE_DATE_EPOCH", ""}};
  CHECK(!plan_of(global, options).source_date_epoch);
  options.build_args = {{"SOURCE_DATE_EPOCH", "12x"}};
  CHECK(contains(failure_of(global, options), "invalid SOURCE_DATE_EPOCH: 12x"));
  options.build_args = {{"SOURCE_DATE_EPOCH", "context"}};
  options.context_time = 77;
  CHECK(plan_of(global, options).source_date_epoch == 77);
}

TEST_CASE("the source date may be the time of a stage's one remote ADD or of a named context") {
  TableResolver bases;
  bases.times = {{"https://h/f.tar", 100}, {"https://h/r.git#v2 abc", 200}, {"context src", 300}};
  const auto epoch_of = [&](const std::string& text, EvaluateOptions options = amd64()) {
    return plan_of(text, bases, options).source_date_epoch;
  };
  const std::string by_default = "ARG SOURCE_DATE_EPOCH=Source\n";
  CHECK(epoch_of(by_default + "FROM scratch AS source\nADD https://h/f.tar /\nFROM scratch\n") == 100);
  CHECK(epoch_of("ARG V=2\nARG H=h\n" + by_default +
                 "FROM scratch AS source\nARG W=r C\nARG C=abc\nADD --checksum=$C https://$H/$W.git#v$V "
                 "/\nFROM scratch\n") == 200);
  // Nothing known of it: no date.
  CHECK(!epoch_of(by_default + "FROM scratch AS source\nADD https://h/unknown /\nFROM scratch\n"));

  EvaluateOptions options = amd64();
  options.build_args = {{"SOURCE_DATE_EPOCH", "src"}};
  options.named_contexts = {"src"};
  CHECK(epoch_of("FROM scratch AS src\nRUN never looked at\nFROM scratch\n", options) == 300);

  // The number takes the place of the name wherever the variable is used (SDE-3).
  const Plan plan = plan_of(by_default +
                                "FROM scratch AS source\nADD https://h/f.tar /\nFROM scratch\n"
                                "ARG SOURCE_DATE_EPOCH\nENV E=[$SOURCE_DATE_EPOCH]\n",
                            bases);
  CHECK(plan.stages.back().config.config.env.back() == "E=[100]");
}

TEST_CASE("build arguments that ask for what cannot be done are refused") {
  const auto failure = [](const std::string& name, const std::string& value) {
    EvaluateOptions options = amd64();
    options.build_args = {{name, value}};
    return failure_of("FROM scratch\n", options);
  };
  CHECK(contains(failure("BUILDKIT_MULTI_PLATFORM", "1"), "BUILDKIT_MULTI_PLATFORM"));
  CHECK(failure("BUILDKIT_MULTI_PLATFORM", "false") == "no failure");
  CHECK(contains(failure("BUILDKIT_MULTI_PLATFORM", "maybe"), "true or false, not \"maybe\""));
  CHECK(contains(failure("BUILDKIT_DISABLE_FILEOP", "true"), "no longer supported"));
  CHECK(failure("BUILDKIT_INLINE_CACHE", "1") == "no failure");
}

TEST_CASE("a stage that is more than a remote source gives no source date") {
  const auto failure = [](const std::string& stage) {
    return failure_of("ARG SOURCE_DATE_EPOCH=s\n" + stage + "FROM scratch\n");
  };
  CHECK(failure("FROM busybox AS s\nADD https://h/f /\n") ==
        "2: SOURCE_DATE_EPOCH stage must use FROM scratch");
  CHECK(failure("FROM scratch AS s\n") == "2: SOURCE_DATE_EPOCH stage must contain exactly one remote ADD");
  CHECK(failure("FROM scratch AS s\nADD https://h/f /\nADD https://h/g /\n") ==
        "4: SOURCE_DATE_EPOCH stage must contain exactly one remote ADD");
  CHECK(failure("FROM scratch AS s\nADD https://h/f https://h/g /\n") ==
        "3: SOURCE_DATE_EPOCH stage must contain exactly one remote ADD source");
  CHECK(failure("FROM scratch AS s\nADD file /\n") ==
        "3: SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD");
  CHECK(failure("FROM scratch AS s\nRUN true\n") ==
        "3: SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported RUN instruction");
  CHECK(failure("FROM scratch AS s\ncopy a b\n") ==
        "3: SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported COPY instruction");
}

TEST_CASE("a trigger without a proper instruction is an error of the child's FROM line") {
  CHECK(
      failure_of("FROM scratch AS x\nONBUILD BOGUS\nFROM x\n").starts_with("3: unknown instruction: BOGUS"));
  CHECK(contains(failure_of("FROM scratch AS x\nONBUILD COPY --from=x a b\nFROM x AS y\nONBUILD COPY "
                            "--from=z a b\nFROM y AS z\n"),
                 "circular dependency detected on stage: z"));
}

TEST_CASE("labels of the command line go to the target alone") {
  EvaluateOptions options = amd64();
  options.labels = {{"k", "v"}};
  const Plan plan = plan_of("FROM scratch AS a\nLABEL x=y\nFROM a\n", options);
  CHECK(plan.stages[0].config.config.labels.count("k") == 0);
  CHECK(plan.stages[1].config.config.labels.at("k") == "v");
}

TEST_CASE("titles of steps are those of the verified cases") {
  const auto cases = nlohmann::json::parse(read_test_data("cases/cache.json"))["cases"];
  for (const auto& test : cases) {
    const std::string id = test["id"];
    CAPTURE(id);
    nlohmann::json second = test["first"];
    for (const auto& [key, value] : test["second"].items()) second[key] = value;
    const Plan plan = plan_of(second["dockerfile"]);
    std::vector<std::string> expected;
    for (const auto& step : test["steps"]) expected.push_back(step["step"]);
    std::vector<std::string> titles;
    for (const auto& stage : plan.stages) {
      for (const auto& step : stage.steps) titles.push_back(step.title);
    }
    std::sort(expected.begin(), expected.end());
    std::sort(titles.begin(), titles.end());
    CHECK(titles == expected);
  }
  CHECK(cases.size() == 81);
}

TEST_CASE("a plan can be read") {
  const std::string text = dump_plan(
      plan_of("FROM busybox AS a\nRUN --mount=type=cache,target=/c make\nFROM scratch\nCOPY --from=a / /\n"));
  CHECK(contains(text, "stage 0 (a)"));
  CHECK(contains(text, "mount cache at /c from scratch, id /c, rw"));
  CHECK(contains(text, "from: stage 0 (a)"));
}
