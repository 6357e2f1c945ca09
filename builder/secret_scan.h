#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_finder.h"
#include "base/byte_matcher.h"

namespace imgbuild::builder {

/// A secret to look for. Borrowed while the object made of it is constructed.
struct NamedSecret {
  std::string id;
  std::string_view value;
};

/// Shorter secrets are neither masked nor looked for: they would be found everywhere (SEC-7).
inline constexpr std::size_t kShortestSecret = 6;

/// What secrets look like where they must not be: their bytes without line ends at the end, and these in
/// base64 (standard and URL alphabet, at any place of what was encoded, broken into lines or not). Of a
/// secret longer than 64 bytes the most varied 64 of its middle half stand for the whole, which finds parts
/// of it as well. Immutable.
class SecretPatterns {
 public:
  explicit SecretPatterns(const std::vector<NamedSecret>& secrets);
  bool empty() const noexcept { return plain_.empty(); }

 private:
  friend class SecretScanner;
  struct Lists {
    std::vector<std::string> plain, encoded, plain_owners, encoded_owners;
  };
  struct Made {};
  SecretPatterns(Lists lists, Made);

  ByteFinder plain_, encoded_;
  std::vector<std::string> plain_owners_, encoded_owners_;
};

/// Looks for secrets in one stream of bytes, whatever its chunks are. Borrows the patterns.
class SecretScanner {
 public:
  explicit SecretScanner(const SecretPatterns& patterns) noexcept : patterns_(patterns) {}
  /// The id of a secret that ends in `bytes`; nullptr for none. After one was found the rest of `bytes` is
  /// not looked at.
  const std::string* scan(std::string_view bytes);

 private:
  const SecretPatterns& patterns_;
  ByteFinder::State plain_, encoded_;
};

/// What is covered in output: whole secrets, lines of 8 bytes and more, and the base64 forms (SEC-7).
/// Immutable.
class MaskPatterns {
 public:
  explicit MaskPatterns(const std::vector<NamedSecret>& secrets);
  bool empty() const noexcept { return plain_.empty(); }

 private:
  friend class SecretMask;
  ByteMatcher plain_, encoded_;
};

/// Replaces secrets in one stream of bytes by `***`. Holds back only what may be the beginning of one; at a
/// line end not the first few characters of what might be base64, or each line would wait for the next.
/// Borrows the patterns.
class SecretMask {
 public:
  explicit SecretMask(const MaskPatterns& patterns) noexcept : patterns_(patterns) {}
  std::string filter(std::string_view bytes);
  /// What was held back, at the end of the stream.
  std::string finish();

 private:
  void take(char byte);
  void cover(std::uint64_t from);
  std::string release(std::size_t count);

  const MaskPatterns& patterns_;
  ByteMatcher::State plain_ = ByteMatcher::kStart;
  ByteMatcher::State encoded_ = ByteMatcher::kStart;
  std::string held_;
  std::vector<bool> covered_;              ///< of held_
  std::deque<std::uint64_t> significant_;  ///< positions of bytes that count in base64
  std::uint64_t position_ = 0;             ///< of the next byte in the stream
  bool in_cover_ = false;                  ///< the last byte that was released was covered
};

}  // namespace imgbuild::builder
