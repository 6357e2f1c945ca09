#pragma once

#include <map>
#include <mutex>
#include <string>

#include "builder/event.h"

namespace imgbuild::cli {

/// One line an event, every line of output prefixed with its step's number, as logs want it.
class PlainRenderer final : public builder::EventSink {
 public:
  PlainRenderer(int fd, bool is_terminal, bool debug) : fd_(fd), is_terminal_(is_terminal), debug_(debug) {}
  void on_event(const builder::Event& event) noexcept override;

 private:
  std::string render(const builder::StepStarted& event);
  std::string render(const builder::StepOutput& event);
  std::string render(const builder::StepProgress& event);
  std::string render(const builder::StepUsed& event);
  std::string render(const builder::StepFinished& event);
  std::string render(const builder::Warned& event);
  std::string render(const builder::Missed& event);
  std::string render(const builder::Explained& event);
  std::string render(const builder::Noted& event);
  std::string render(const builder::Waiting& event);

  struct Step {
    std::string label;
    std::string partial[2];  // the unfinished last line of each stream
  };

  int fd_;
  bool is_terminal_;
  bool debug_;
  std::mutex mutex_;
  std::map<builder::StepId, Step> steps_;
};

}  // namespace imgbuild::cli
