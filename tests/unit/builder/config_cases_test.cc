// Every case of testdata/cases/config.json, as far as planning decides it. What files a step leaves behind
// (`probe`) is the business of the integration tests.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "builder/evaluate.h"
#include "builder/history.h"
#include "parser/parser.h"
#include "tests/support/test_data.h"
#include "tests/unit/builder/plan_cases.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using namespace imgbuild::tests;
using nlohmann::json;

namespace {

json set_of(const std::set<std::string>& words) {
  json out = json::object();
  for (const auto& word : words) out[word] = json::object();
  return out;
}

void put(json& out, const char* key, json value) {
  if (!value.empty() && value != "" && value != 0 && value != false) out[key] = std::move(value);
}

json healthcheck_json(const oci::Healthcheck& check) {
  json out;
  put(out, "Test", check.test);
  put(out, "Interval", check.interval_ns);
  put(out, "Timeout", check.timeout_ns);
  put(out, "StartPeriod", check.start_period_ns);
  put(out, "StartInterval", check.start_interval_ns);
  put(out, "Retries", check.retries);
  return out;
}

json config_json(const oci::RuntimeConfig& config) {
  json out = json::object();
  put(out, "User", config.user);
  put(out, "ExposedPorts", set_of(config.exposed_ports));
  put(out, "Env", config.env);
  if (config.entrypoint) put(out, "Entrypoint", *config.entrypoint);
  if (config.cmd) put(out, "Cmd", *config.cmd);
  put(out, "Volumes", set_of(config.volumes));
  put(out, "WorkingDir", config.working_dir);
  put(out, "Labels", config.labels);
  put(out, "StopSignal", config.stop_signal);
  if (config.args_escaped) out["ArgsEscaped"] = true;
  if (config.healthcheck) out["Healthcheck"] = healthcheck_json(*config.healthcheck);
  put(out, "OnBuild", config.on_build);
  put(out, "Shell", config.shell);
  return out;
}

json image_json(const oci::ImageConfig& config) {
  json out;
  put(out, "author", config.author);
  out["architecture"] = config.platform.architecture;
  out["os"] = config.platform.os;
  put(out, "variant", config.platform.variant);
  return out;
}

/// What a build of `stage` adds to its base image: history and layers, base stages included.
void add_stage(const Plan& plan, std::size_t number, json& history, std::size_t& layers) {
  const PlannedStage& stage = plan.stages.at(number);
  if (const auto* base = std::get_if<FromStage>(&stage.base)) add_stage(plan, base->stage, history, layers);
  if (std::holds_alternative<FromImage>(stage.base)) ++layers;
  for (const auto& entry : finished_history(stage)) {
    json out = {{"created_by", entry.created_by}, {"comment", entry.comment}};
    if (entry.empty_layer) out["empty_layer"] = true;
    if (!entry.empty_layer) ++layers;
    history.push_back(out);
  }
}

/// Parts of the reference's message that ours has to keep; the rest may be clearer.
bool keeps_the_core(const std::string& ours, std::string expected) {
  const std::string prefix = "failed to solve: ";
  if (expected.starts_with(prefix)) expected.erase(0, prefix.size());
  if (expected.starts_with("dockerfile parse error on line ")) expected.erase(0, expected.find(": ") + 2);
  if (const auto suggestion = expected.find(" (did you mean "); suggestion != std::string::npos)
    expected.resize(suggestion);
  if (ours.find(expected) != std::string::npos) return true;
  const std::string core = expected.substr(0, expected.find(": "));
  for (const std::string known :
       {"must be lowercase", "failed to resolve source metadata", "failed to parse platform"}) {
    if (expected.find(known) != std::string::npos) return ours.find(known) != std::string::npos;
  }
  return ours.find(core) != std::string::npos;
}

}  // namespace

TEST_CASE("plans give the image configs and histories of the verified cases") {
  const json cases = json::parse(read_test_data("cases/config.json"))["cases"];
  std::size_t planned = 0;
  std::size_t refused = 0;
  std::size_t with_probe = 0;
  for (const auto& test : cases) {
    const std::string id = test["id"];
    if (id == "CF-ST-35") continue;  // finding the Dockerfile comes before planning
    CAPTURE(id);
    CAPTURE(test["dockerfile"].get<std::string>());
    TableResolver bases;
    try {
      const auto options = case_options(test);
      const Plan plan = evaluate(parser::parse_dockerfile(case_source(test)), options, bases, {});
      REQUIRE_MESSAGE(!test.contains("error"), "should have failed: ", test.value("error", ""));
      const PlannedStage& target = plan.stages.at(plan.target);
      json history = json::array();
      std::size_t layers = 0;
      add_stage(plan, plan.target, history, layers);
      CHECK(config_json(target.config.config) == test["config"]);
      CHECK(image_json(target.config) == test["image"]);
      CHECK(history == test["history"]);
      CHECK(layers == test["layers"].get<std::size_t>());
      if (test.contains("probe")) ++with_probe;
      ++planned;
    } catch (const Error& error) {
      REQUIRE_MESSAGE(test.contains("error"), full_text(error));
      ++refused;
      if (id.starts_with("CF-ST-") &&
          id >= "CF-ST-36") {  // the reference would fetch another front end, which does not exist
        CHECK_MESSAGE(error.message().find("the front end") == 0, error.message());
        continue;
      }
      CHECK_MESSAGE(keeps_the_core(full_text(error), test["error"]), full_text(error), " <-> ",
                    test["error"]);
    }
  }
  CHECK(planned + refused == cases.size() - 1);
  CHECK(cases.size() == 302);
  MESSAGE("planned ", planned, ", refused ", refused, ", probes left to integration tests ", with_probe);
}
