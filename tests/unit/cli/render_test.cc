#include <doctest/doctest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/unique_fd.h"
#include "cli/build_report.h"
#include "cli/render_error.h"
#include "cli/renderers.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

/// What a renderer writes for these events.
std::string rendered(cli::ProgressMode mode, const std::vector<Event>& events, bool terminal = false) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const UniqueFd out(ends[0]);
  {
    const UniqueFd in(ends[1]);
    const auto sink = cli::make_renderer(mode, in.get(), terminal, false);
    for (const auto& event : events) sink->on_event(event);
  }
  FileSource source(out.duplicate(), "pipe");
  return read_all(source, 1 << 20, "pipe");
}

const auto kSource = std::make_shared<SourceText>("Dockerfile", "FROM a\nRUN make\n");

}  // namespace

TEST_CASE("an error shows message, place, what was going on and what to try") {
  Error error("\"app\" matches no file");
  error.locate({kSource, 2, 2, 5, 9});
  error.add_context("computing the key of a step");
  error.add_note("look at .dockerignore");
  CHECK(cli::render_error(error, false) ==
        "error: \"app\" matches no file\n"
        "  --> Dockerfile:2:5\n"
        "   2 | RUN make\n"
        "     |     ^^^^\n"
        "  while computing the key of a step\n"
        "  note: look at .dockerignore\n");
}

TEST_CASE("a failed command's output is shown without its power over the terminal") {
  const StepFailed error("process failed", 3, "first\n\x1b[2Jsecond\n");
  const std::string text = cli::render_error(error, false);
  CHECK(text.find("    | first\n    | \\x1b[2Jsecond\n") != std::string::npos);
}

TEST_CASE("plain progress prefixes whole lines and keeps unfinished ones until the step ends") {
  const std::vector<Event> events = {
      StepStarted{0, "[1/1] RUN make", {}}, StepOutput{0, 1, "one\ntw"}, StepOutput{0, 2, "warn\n"},
      StepOutput{0, 1, "o"}, StepFinished{0, StepFinished::How::ran, std::chrono::milliseconds(1230)}};
  CHECK(rendered(cli::ProgressMode::plain, events) ==
        "#1 [1/1] RUN make\n#1 one\n#1 warn\n#1 two\n#1 DONE 1.23s\n");
  CHECK(rendered(cli::ProgressMode::quiet, events).empty());
}

TEST_CASE("on a terminal control characters of commands are escaped") {
  const std::vector<Event> events = {StepStarted{0, "x", {}}, StepOutput{0, 1, "\x1b]52;c;AAAA\a\n"}};
  CHECK(rendered(cli::ProgressMode::plain, events, true) == "#1 x\n#1 \\x1b]52;c;AAAA\\x07\n");
}

TEST_CASE("JSON progress is one valid object a line, whatever bytes a command prints") {
  const std::vector<Event> events = {StepOutput{4, 2, "\xff\n"},
                                     Warned{"Rule", "text", "", {kSource, 2, 2, 0, 0}}};
  const std::string text = rendered(cli::ProgressMode::json, events);
  const auto first = nlohmann::json::parse(text.substr(0, text.find('\n')));
  CHECK(first["step"] == 4);
  CHECK(first["stream"] == 2);
  const auto second = nlohmann::json::parse(text.substr(text.find('\n') + 1));
  CHECK(second["rule"] == "Rule");
  CHECK(second["where"]["first_line"] == 2);
}

TEST_CASE("the metadata file holds digests and names") {
  BuildResult result;
  result.image = oci::Descriptor{.media_type = "application/vnd.oci.image.manifest.v1+json",
                                 .digest = Digest::parse("sha256:" + std::string(64, 'a')),
                                 .size = 7,
                                 .urls = {},
                                 .annotations = {},
                                 .platform = oci::Platform::parse("linux/arm64"),
                                 .artifact_type = {}};
  result.tags = {oci::Reference::parse("app:v1")};
  const auto json = nlohmann::json::parse(cli::metadata_json(result));
  CHECK(json["containerimage.digest"] == "sha256:" + std::string(64, 'a'));
  CHECK(json["containerimage.descriptor"]["platform"]["architecture"] == "arm64");
  CHECK(json["image.name"] == "docker.io/library/app:v1");
}
