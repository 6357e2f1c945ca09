#pragma once

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "builder/evaluate.h"
#include "oci/reference.h"

/// What the table-driven tests of planning share.
namespace imgbuild::tests {

/// Images and contexts out of a table. Knows busybox: one layer, Cmd ["sh"], no Env, no working directory.
class TableResolver final : public builder::BaseResolver {
 public:
  TableResolver() {
    oci::ImageConfig busybox;
    busybox.platform = oci::Platform::parse("linux/amd64");
    busybox.config.cmd = std::vector<std::string>{"sh"};
    add_image("docker.io/library/busybox:latest", busybox);
  }
  void add_image(const std::string& name, oci::ImageConfig config) { images_[name] = std::move(config); }
  void add_context(const std::string& name, builder::ResolvedBase base) {
    contexts_.insert_or_assign(name, std::move(base));
  }

  std::optional<builder::ResolvedBase> named_context(const std::string& name, const oci::Platform&) override {
    asked.push_back("context " + name);
    const auto found = contexts_.find(name);
    return found == contexts_.end() ? std::nullopt : std::optional(found->second);
  }
  builder::ResolvedBase image(const std::string& reference, const oci::Platform& platform) override {
    const std::string name = oci::Reference::parse(reference).str();
    asked.push_back("image " + name);
    const auto found = images_.find(name);
    if (found == images_.end())
      throw Error(cat("failed to resolve source metadata for ", name, ": ", name, ": not found"));
    const auto [entry, fresh] = numbers_.emplace(std::pair(name, platform.str()), planned_.size());
    if (fresh) planned_.push_back({name, platform});
    return {builder::FromImage{entry->second}, found->second, name};
  }
  std::vector<builder::PlannedImage> images() const override { return planned_; }

  std::optional<std::int64_t> context_time(const std::string& name) override {
    return find_time("context " + name);
  }
  std::optional<std::int64_t> remote_time(const builder::RemoteAdd& add) override {
    return find_time(add.source + (add.checksum.empty() ? "" : " " + add.checksum));
  }

  std::map<std::string, std::int64_t> times;  ///< by "context NAME" and by source
  std::vector<std::string> asked;             ///< "image …" and "context …", in order

 private:
  std::optional<std::int64_t> find_time(const std::string& what) const {
    const auto found = times.find(what);
    return found == times.end() ? std::nullopt : std::optional(found->second);
  }

  std::map<std::string, oci::ImageConfig> images_;
  std::map<std::string, builder::ResolvedBase> contexts_;
  std::map<std::pair<std::string, std::string>, std::size_t> numbers_;
  std::vector<builder::PlannedImage> planned_;
};

/// The front-end options of a case ("build-arg:A=1", "target=x", …).
inline builder::EvaluateOptions case_options(const nlohmann::json& test) {
  builder::EvaluateOptions options;
  options.build_platform = oci::Platform::parse("linux/amd64");
  options.target_platform = options.build_platform;
  options.allow_network_host = false;
  if (!test.contains("options")) return options;
  for (const std::string option : test["options"]) {
    const auto equals = option.find('=');
    const std::string key = option.substr(0, equals);
    const std::string value = option.substr(equals + 1);
    if (key == "target") {
      options.target = value;
    } else if (key == "platform") {
      options.target_platform = oci::Platform::parse(value);
      options.platform_given = true;
    } else if (key == "hostname") {
      options.hostname = value;
    } else if (key == "force-network-mode") {
      options.default_network = value;
    } else if (key.starts_with("build-arg:")) {
      options.build_args.emplace_back(key.substr(10), value);
    } else if (key.starts_with("label:")) {
      options.labels.emplace_back(key.substr(6), value);
    } else if (key == "no-cache") {
      options.no_cache.emplace();
    } else {
      FAIL("a case has an option this test does not know: ", option);
    }
  }
  return options;
}

inline std::shared_ptr<const SourceText> case_source(const nlohmann::json& test) {
  return std::make_shared<const SourceText>("Dockerfile", test["dockerfile"].get<std::string>());
}

/// The message of an error with its notes, for comparing with what the reference says in one line.
inline std::string full_text(const Error& error) {
  std::string text = error.message();
  for (const auto& note : error.notes()) text += " (" + note + ")";
  return text;
}

}  // namespace imgbuild::tests
