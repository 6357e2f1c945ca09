// Every Dockerfile of testdata/checks, as users write them and as they should not: what --check finds in it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "builder/check_call.h"
#include "oci/reference.h"
#include "tests/support/test_data.h"
#include "tests/unit/builder/plan_cases.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using namespace imgbuild::tests;

namespace {

/// Every image is there, and none says anything.
class AnyImage final : public BaseResolver {
 public:
  std::optional<ResolvedBase> named_context(const std::string&, const oci::Platform&) override { return {}; }
  ResolvedBase image(const std::string& reference, const oci::Platform& platform) override {
    ResolvedBase base{FromScratch{}, {}, oci::Reference::parse(reference).str()};
    base.config.platform = platform;
    return base;
  }
  std::vector<PlannedImage> images() const override { return {}; }
};

std::string findings(const std::string& file) {
  AnyImage images;
  EvaluateOptions options;
  options.allow_insecure = true;  // as for every question that runs nothing
  options.build_platform = oci::Platform::parse("linux/amd64");
  options.target_platform = options.build_platform;
  const auto text = std::make_shared<const SourceText>("Dockerfile", read_test_data("checks/" + file));
  const auto result = check_dockerfile(text, options, images);
  std::string out;
  for (const auto& warning : result.warnings) out += cat(" ", warning.rule, ":", warning.where.first_line);
  if (!result.error) return out;
  const int line = result.error->where ? result.error->where->first_line : 0;
  return cat(out, " | ", line, " ", printable(result.error->message));
}

}  // namespace

TEST_CASE("checks find in well-known kinds of Dockerfiles what they should") {
  const std::filesystem::path folder = test_data_path("checks");
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".dockerfile") files.push_back(entry.path().filename());
  }
  std::sort(files.begin(), files.end());
  REQUIRE(files.size() > 150);
  std::string found;
  for (const auto& file : files) found += cat(file.substr(0, file.find('.')), ":", findings(file), "\n");
  if (std::getenv("IMGBUILD_ACCEPT") != nullptr) std::ofstream(folder / "expected.txt") << found;
  const std::string wanted = read_test_data("checks/expected.txt");
  const auto found_lines = split(found, '\n');
  const auto wanted_lines = split(wanted, '\n');
  CHECK(found_lines.size() == wanted_lines.size());
  for (std::size_t i = 0; i < std::min(found_lines.size(), wanted_lines.size()); ++i)
    CHECK(found_lines[i] == wanted_lines[i]);
}
