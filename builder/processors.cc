#include "builder/processors.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <tuple>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kMostProcessors = 8192;  // the kernel's own bound

}  // namespace

std::vector<unsigned> own_processors() {
  std::vector<unsigned long> mask(kMostProcessors / (8 * sizeof(unsigned long)));
  const std::size_t size = mask.size() * sizeof(unsigned long);
  auto* const set = reinterpret_cast<cpu_set_t*>(mask.data());
  if (::sched_getaffinity(0, size, set) != 0) throw SystemError(errno, "find", "the processors of imgbuild");
  std::vector<unsigned> out;
  for (unsigned i = 0; i < kMostProcessors; ++i)
    if (CPU_ISSET_S(i, size, set)) out.push_back(i);
  return out;
}

std::vector<unsigned> parse_processors(std::string_view list) {
  std::vector<unsigned> out;
  for (const auto range : split(list, ',')) {
    const auto dash = range.find('-');
    const auto first = parse_decimal(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_decimal(range.substr(dash + 1));
    if (!first || !last || *first > *last || *last >= kMostProcessors)
      throw UnsupportedError(cat("--cpuset-cpus: no list of processors: ", printable(list)));
    for (auto number = *first; number <= *last; ++number) out.push_back(static_cast<unsigned>(number));
  }
  return out;
}

Processors::Lease::~Lease() {
  if (owner_ == nullptr) return;
  const std::lock_guard lock(owner_->mutex_);
  for (const unsigned number : numbers_) --owner_->users_.at(number);
}

std::vector<std::uint8_t> Processors::Lease::mask() const {
  std::vector<std::uint8_t> out;
  for (const unsigned number : numbers_) {
    // The kernel takes whole words, the lowest bit of the first byte first on the machines we run on.
    const std::size_t words = number / 64 + 1;
    if (out.size() < words * 8) out.resize(words * 8);
    out[number / 8] = static_cast<std::uint8_t>(out[number / 8] | (1u << number % 8));
  }
  return out;
}

Processors::Processors(const std::vector<unsigned>& own) {
  for (const unsigned number : own) users_[number] = 0;
}

Processors::Lease Processors::lease(std::uint64_t count, std::string_view list) {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<unsigned, unsigned>> choice;  // users, number
  if (list.empty()) {
    for (const auto& [number, users] : users_) choice.emplace_back(users, number);
  } else {
    for (const unsigned number : parse_processors(list)) {
      const auto own = users_.find(number);
      if (own == users_.end()) {
        UnsupportedError error(cat("--cpuset-cpus: processor ", number, " is not given to imgbuild"));
        std::vector<std::string> given;
        for (const auto& [mine, users] : users_) given.push_back(cat(mine));
        error.add_note(cat("it has ", join(given, ",")));
        throw error;
      }
      choice.emplace_back(own->second, number);
    }
  }
  std::sort(choice.begin(), choice.end());
  choice.erase(std::unique(choice.begin(), choice.end()), choice.end());
  if (choice.size() > count) choice.resize(static_cast<std::size_t>(count));
  std::vector<unsigned> numbers;
  for (const auto& [users, number] : choice) numbers.push_back(number);
  for (const unsigned number : numbers) ++users_.at(number);
  return {*this, std::move(numbers)};
}

}  // namespace imgbuild::builder
