#include "cli/render_json.h"

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::cli {

namespace {

using Json = nlohmann::json;

Json place(const SourceRange& where) {
  if (!where.text) return nullptr;
  return {{"file", where.text->name()}, {"first_line", where.first_line}, {"last_line", where.last_line}};
}

const char* word(builder::StepFinished::How how) {
  using How = builder::StepFinished::How;
  switch (how) {
    case How::ran:
      return "ran";
    case How::cached:
      return "cached";
    case How::failed:
      return "failed";
    case How::skipped:
      return "skipped";
  }
  return "";
}

const char* peak_of(const builder::ResourceUse& use) {
  if (use.peak_is_sampled) return "all processes, sampled";
  return use.peak_is_total ? "all processes" : "largest process";
}

Json describe(const builder::StepStarted& e) {
  return {{"event", "step_started"}, {"step", e.step}, {"label", e.label}, {"where", place(e.where)}};
}
Json describe(const builder::StepOutput& e) {
  return {{"event", "step_output"}, {"step", e.step}, {"stream", e.stream}, {"text", e.bytes}};
}
Json describe(const builder::StepProgress& e) {
  return {{"event", "step_progress"},
          {"step", e.step},
          {"done_bytes", e.done_bytes},
          {"total_bytes", e.total_bytes}};
}
Json describe(const builder::StepUsed& e) {
  return {{"event", "step_used"},
          {"step", e.step},
          {"cpu_nanoseconds", e.use.cpu_time.count()},
          {"peak_memory_bytes", e.use.peak_memory_bytes},
          {"peak_memory_of", peak_of(e.use)}};
}
Json describe(const builder::StepFinished& e) {
  return {
      {"event", "step_finished"}, {"step", e.step}, {"how", word(e.how)}, {"nanoseconds", e.took.count()}};
}
Json describe(const builder::Warned& e) {
  return {
      {"event", "warning"}, {"rule", e.rule}, {"text", e.text}, {"url", e.url}, {"where", place(e.where)}};
}
Json describe(const builder::Missed& e) {
  return {{"event", "missed"}, {"step", e.step}, {"key", e.key.str()}, {"note", e.note}};
}
Json describe(const builder::Explained& e) {
  return {{"event", "explained"}, {"step", e.step},   {"cause", e.cause}, {"name", e.name},
          {"before", e.before},   {"after", e.after}, {"text", e.text},   {"others", e.others}};
}
Json describe(const builder::Waiting& e) {
  Json out = {{"event", "waiting"}, {"what", e.what}, {"pid", e.pid}};
  if (e.step) out["step"] = *e.step;
  return out;
}
Json describe(const builder::Noted& e) { return {{"event", "note"}, {"text", e.text}}; }

}  // namespace

void JsonRenderer::on_event(const builder::Event& event) noexcept {
  try {
    const Json document = std::visit([](const auto& e) { return describe(e); }, event);
    const std::string line = document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    const std::lock_guard guard(mutex_);
    write_all(fd_, line, "progress");
  } catch (const std::exception&) {
    // The reader of the progress is gone; the build goes on and its result says what happened.
  }
}

}  // namespace imgbuild::cli
