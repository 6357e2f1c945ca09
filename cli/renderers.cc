#include "cli/renderers.h"

#include "cli/render_json.h"
#include "cli/render_plain.h"

namespace imgbuild::cli {

namespace {

class QuietRenderer final : public builder::EventSink {
 public:
  void on_event(const builder::Event&) noexcept override {}
};

}  // namespace

std::unique_ptr<builder::EventSink> make_renderer(ProgressMode mode, int fd, bool is_terminal, bool debug) {
  switch (mode) {
    case ProgressMode::plain:
      return std::make_unique<PlainRenderer>(fd, is_terminal, debug);
    case ProgressMode::json:
      return std::make_unique<JsonRenderer>(fd);
    case ProgressMode::quiet:
      return std::make_unique<QuietRenderer>();
  }
  return std::make_unique<QuietRenderer>();
}

}  // namespace imgbuild::cli
