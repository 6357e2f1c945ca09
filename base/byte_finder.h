#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild {

/// Finds any of a set of byte strings in a stream, and steps over what cannot hold one: of most streams it
/// looks at few bytes (Wu and Manber 1994). Immutable after construction; shared between threads.
class ByteFinder {
 public:
  static constexpr std::uint32_t kNone = 0xffffffffu;
  static constexpr std::size_t kShortestPattern = 3;

  /// What a stream needs to remember between its chunks. Starts empty; belongs to one finder.
  struct State {
    std::string kept;
  };

  /// Patterns under three bytes are left out. Bytes of `ignored` are passed over wherever they stand in the
  /// stream; no pattern may hold one.
  explicit ByteFinder(const std::vector<std::string>& patterns, std::string_view ignored = {});
  ByteFinder(const ByteFinder&) = default;
  ByteFinder& operator=(const ByteFinder&) = delete;
  ~ByteFinder();  ///< wipes the patterns, which may be secrets

  bool empty() const noexcept { return order_.empty(); }

  /// Goes on with `bytes`; the number of a pattern that ends in them, or kNone when none does. When one was
  /// found what follows it in `bytes` is not looked at, and the stream is at its beginning again.
  std::uint32_t find(State& state, std::string_view bytes) const;

 private:
  std::uint32_t find_in_place(State& state, std::string_view bytes) const;
  std::uint32_t search(std::string_view text) const noexcept;
  std::uint32_t check(std::uint32_t bucket, const char* at, std::size_t left) const noexcept;
  void append(std::string& to, std::string_view bytes, std::size_t ignored) const;

  std::vector<std::string> patterns_;
  std::string ignored_;
  std::size_t shortest_ = 0, longest_ = 0;
  unsigned bits_ = 0;                 ///< of the hash of three bytes
  std::vector<std::uint8_t> shifts_;  ///< by hash: how far no pattern can begin; 0: one may be here
  std::vector<std::uint32_t> first_;  ///< by hash: where its patterns begin in order_
  std::vector<std::uint32_t> order_;  ///< numbers of patterns
};

}  // namespace imgbuild
