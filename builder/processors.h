#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace imgbuild::builder {

/// Spreads commands over the processors this process may use. Thread-safe.
class Processors {
 public:
  /// Some processors, until it is destroyed. Others may get them too when there are not enough. Move-only.
  class Lease {
   public:
    Lease(Processors& owner, std::vector<unsigned> numbers) : owner_(&owner), numbers_(std::move(numbers)) {}
    Lease(Lease&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), numbers_(std::move(other.numbers_)) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease();
    const std::vector<unsigned>& numbers() const noexcept { return numbers_; }
    /// As sched_setaffinity takes it.
    std::vector<std::uint8_t> mask() const;

   private:
    Processors* owner_;
    std::vector<unsigned> numbers_;
  };

  /// `own`: the numbers this process may use.
  explicit Processors(const std::vector<unsigned>& own);

  /// `count` processors, or as many as there are, of `list` ("0-2,4"; empty: all), those that fewest commands
  /// use first. Throws UnsupportedError when `list` holds one that this process may not use.
  Lease lease(std::uint64_t count, std::string_view list);

 private:
  std::mutex mutex_;
  std::map<unsigned, unsigned> users_;  ///< of each processor
};

/// Those this process may use. Throws SystemError.
std::vector<unsigned> own_processors();

/// The numbers of a list such as "0-2,4". Throws UnsupportedError for one that is none.
std::vector<unsigned> parse_processors(std::string_view list);

}  // namespace imgbuild::builder
