#pragma once

#include <mutex>

#include "builder/event.h"

namespace imgbuild::cli {

/// One JSON object a line and event (docs/formats/events.md). Bytes that are no UTF-8 are replaced.
class JsonRenderer final : public builder::EventSink {
 public:
  explicit JsonRenderer(int fd) : fd_(fd) {}
  void on_event(const builder::Event& event) noexcept override;

 private:
  int fd_;
  std::mutex mutex_;
};

}  // namespace imgbuild::cli
