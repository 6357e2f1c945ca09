#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild {

/// Finds any of a set of byte strings in a stream, in one pass and without looking back (Aho and Corasick
/// 1975). The state of a stream is one number, so that it may be cut into chunks anywhere. Immutable after
/// construction; shared between threads.
class ByteMatcher {
 public:
  using State = std::uint32_t;
  static constexpr State kStart = 0;
  static constexpr std::uint32_t kNone = 0xffffffffu;

  /// Empty patterns are left out. Bytes of `ignored` are passed over wherever they stand in the stream.
  explicit ByteMatcher(const std::vector<std::string>& patterns, std::string_view ignored = {});

  bool empty() const noexcept { return nodes_.size() == 1; }
  bool ignores(unsigned char byte) const noexcept { return ignored_[byte]; }

  State next(State state, unsigned char byte) const noexcept;
  /// The longest pattern that ends in this state: its number, or kNone.
  std::uint32_t match(State state) const noexcept { return nodes_[state].match; }
  /// How many of the last bytes may be the beginning of a pattern.
  std::size_t depth(State state) const noexcept { return nodes_[state].depth; }
  std::size_t length(std::uint32_t pattern) const noexcept { return lengths_[pattern]; }

  /// Goes over `bytes` until a pattern ends; its number, or kNone when none does. `state` goes along.
  std::uint32_t find(State& state, std::string_view bytes) const noexcept;

 private:
  struct Node {
    std::map<unsigned char, State> children;
    State fallback = kStart;
    std::uint32_t match = kNone;
    std::uint32_t depth = 0;
  };
  void add(std::string_view pattern, std::uint32_t number);
  void connect();
  void make_table();

  std::vector<Node> nodes_;
  std::vector<std::size_t> lengths_;
  std::array<bool, 256> ignored_{};
  /// For each state a row of 256 entries: the next state's row, with bit 0 set where a pattern ends. Only for
  /// sets that are not huge.
  std::vector<std::uint32_t> table_;
};

}  // namespace imgbuild
