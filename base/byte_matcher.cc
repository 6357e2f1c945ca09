#include "base/byte_matcher.h"

#include <deque>

namespace imgbuild {

namespace {

constexpr std::size_t kMaxTableStates = 16 * 1024;  // 16 MiB

}  // namespace

ByteMatcher::ByteMatcher(const std::vector<std::string>& patterns, std::string_view ignored) : nodes_(1) {
  for (const char byte : ignored) ignored_[static_cast<unsigned char>(byte)] = true;
  for (std::uint32_t i = 0; i < patterns.size(); ++i) {
    lengths_.push_back(patterns[i].size());
    if (!patterns[i].empty()) add(patterns[i], i);
  }
  connect();
  if (!empty() && nodes_.size() <= kMaxTableStates) make_table();
}

void ByteMatcher::add(std::string_view pattern, std::uint32_t number) {
  State at = kStart;
  for (const char c : pattern) {
    const auto byte = static_cast<unsigned char>(c);
    const auto known = nodes_[at].children.find(byte);
    if (known != nodes_[at].children.end()) {
      at = known->second;
      continue;
    }
    const auto made = static_cast<State>(nodes_.size());
    const std::uint32_t depth = nodes_[at].depth + 1;
    nodes_[at].children.emplace(byte, made);
    nodes_.emplace_back().depth = depth;
    at = made;
  }
  if (nodes_[at].match == kNone) nodes_[at].match = number;
}

/// Breadth first, so that a fallback is complete before it is used.
void ByteMatcher::connect() {
  std::deque<State> todo;
  for (const auto& [byte, child] : nodes_[kStart].children) todo.push_back(child);
  while (!todo.empty()) {
    const State at = todo.front();
    todo.pop_front();
    for (const auto& [byte, child] : nodes_[at].children) {
      State fallback = nodes_[at].fallback;
      while (fallback != kStart && !nodes_[fallback].children.contains(byte))
        fallback = nodes_[fallback].fallback;
      const auto found = nodes_[fallback].children.find(byte);
      nodes_[child].fallback = found == nodes_[fallback].children.end() ? kStart : found->second;
      if (nodes_[child].match == kNone) nodes_[child].match = nodes_[nodes_[child].fallback].match;
      todo.push_back(child);
    }
  }
}

void ByteMatcher::make_table() {
  std::vector<std::uint32_t> table(nodes_.size() * 256);
  for (State state = 0; state < nodes_.size(); ++state) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      const State to = next(state, static_cast<unsigned char>(byte));
      const bool hit = nodes_[to].match != kNone && !ignored_[byte];
      table[state * 256 + byte] = to * 256 | (hit ? 1u : 0u);
    }
  }
  table_ = std::move(table);
}

ByteMatcher::State ByteMatcher::next(State state, unsigned char byte) const noexcept {
  if (!table_.empty()) return table_[state * 256 + byte] / 256;
  if (ignored_[byte]) return state;
  for (;;) {
    const auto found = nodes_[state].children.find(byte);
    if (found != nodes_[state].children.end()) return found->second;
    if (state == kStart) return kStart;
    state = nodes_[state].fallback;
  }
}

std::uint32_t ByteMatcher::find(State& state, std::string_view bytes) const noexcept {
  if (empty()) return kNone;
  if (table_.empty()) {
    for (const char c : bytes) {
      state = next(state, static_cast<unsigned char>(c));
      if (!ignored_[static_cast<unsigned char>(c)] && match(state) != kNone) return match(state);
    }
    return kNone;
  }
  const std::uint32_t* const table = table_.data();
  std::uint32_t row = state * 256;
  for (const char c : bytes) {
    row = table[(row & ~std::uint32_t{255}) + static_cast<unsigned char>(c)];
    if ((row & 1u) != 0) [[unlikely]] {
      state = row / 256;
      return match(state);
    }
  }
  state = row / 256;
  return kNone;
}

}  // namespace imgbuild
