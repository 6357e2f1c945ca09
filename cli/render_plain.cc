#include "cli/render_plain.h"

#include <unistd.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "cli/render_error.h"

namespace imgbuild::cli {

namespace {

std::string seconds(std::chrono::nanoseconds took) {
  const auto hundredths = std::chrono::duration_cast<std::chrono::milliseconds>(took).count() / 10;
  const std::string fraction = cat(hundredths % 100);
  return cat(hundredths / 100, ".", fraction.size() < 2 ? "0" : "", fraction, "s");
}

}  // namespace

void PlainRenderer::on_event(const builder::Event& event) noexcept {
  const std::lock_guard guard(mutex_);
  try {
    const std::string text = std::visit([this](const auto& e) { return render(e); }, event);
    if (!text.empty()) write_all(fd_, text, "progress");
  } catch (const std::exception&) {
    // The reader of the progress is gone; the build goes on and its result says what happened.
  }
}

std::string PlainRenderer::render(const builder::StepStarted& event) {
  steps_[event.step].label = printable(event.label);
  return cat("#", event.step + 1, " ", steps_[event.step].label, "\n");
}

std::string PlainRenderer::render(const builder::StepOutput& event) {
  auto& partial = steps_[event.step].partial[event.stream == 2 ? 1 : 0];
  partial += event.bytes;
  std::string out;
  for (std::size_t end; (end = partial.find('\n')) != std::string::npos; partial.erase(0, end + 1)) {
    std::string_view line = std::string_view(partial).substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    out += cat("#", event.step + 1, " ", is_terminal_ ? printable(line) : std::string(line), "\n");
  }
  if (partial.size() > 64 * 1024) {  // an endless line must not fill memory
    out += cat("#", event.step + 1, " ", is_terminal_ ? printable(partial) : partial, "\n");
    partial.clear();
  }
  return out;
}

std::string PlainRenderer::render(const builder::StepProgress&) { return {}; }

std::string PlainRenderer::render(const builder::StepUsed&) { return {}; }

std::string PlainRenderer::render(const builder::StepFinished& event) {
  std::string out;
  auto& step = steps_[event.step];
  for (auto& partial : step.partial) {
    if (!partial.empty())
      out += cat("#", event.step + 1, " ", is_terminal_ ? printable(partial) : partial, "\n");
    partial.clear();
  }
  using How = builder::StepFinished::How;
  switch (event.how) {
    case How::ran:
      return out + cat("#", event.step + 1, " DONE ", seconds(event.took), "\n");
    case How::cached:
      return out + cat("#", event.step + 1, " CACHED\n");
    case How::failed:
      return out + cat("#", event.step + 1, " FAILED ", seconds(event.took), "\n");
    case How::skipped:
      return out + cat("#", event.step + 1, " CANCELLED\n");
  }
  return out;
}

std::string PlainRenderer::render(const builder::Warned& event) {
  return render_warning(event.rule, event.text, event.url, event.where, is_terminal_);
}

std::string PlainRenderer::render(const builder::Missed&) { return {}; }

std::string PlainRenderer::render(const builder::Explained& event) {
  return cat("#", event.step + 1, " not cached: ", printable(event.text), "\n");
}

std::string PlainRenderer::render(const builder::Waiting& event) {
  const std::string owner = event.pid == 0 ? std::string() : cat(", process ", event.pid);
  return cat(event.step ? cat("#", *event.step + 1, " ") : std::string(), "waiting for ",
             printable(event.what), owner, "\n");
}

std::string PlainRenderer::render(const builder::Noted& event) {
  if (event.for_everybody) return cat(printable(event.text), "\n");
  return debug_ ? cat("debug: ", printable(event.text), "\n") : std::string();
}

}  // namespace imgbuild::cli
