#include "builder/part_times.h"

#include <string_view>

namespace imgbuild::builder {

std::vector<std::pair<std::string, std::chrono::nanoseconds>> PartTimes::named() const {
  static constexpr std::array<std::string_view, static_cast<std::size_t>(Part::count)> kNames{
      "select", "key", "prepare", "command", "diff", "plan copy", "layer", "publish"};
  std::vector<std::pair<std::string, std::chrono::nanoseconds>> out;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (nanoseconds_[i] > 0) out.emplace_back("  " + std::string(kNames[i]), nanoseconds_[i].load());
  }
  return out;
}

}  // namespace imgbuild::builder
