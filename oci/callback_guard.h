#pragma once

#include <exception>
#include <utility>

namespace imgbuild::oci {

/// Carries an exception over a C library: the callback runs its work inside run() and tells the library by
/// its return value; the caller rethrows once the C call is back.
class CallbackGuard {
 public:
  /// What `work` returns, or `failure` when it threw (or an earlier callback did).
  template <typename Result, typename Work>
  Result run(Result failure, Work&& work) noexcept {
    if (error_) return failure;
    try {
      return std::forward<Work>(work)();
    } catch (...) {
      error_ = std::current_exception();
      return failure;
    }
  }
  void rethrow() {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  std::exception_ptr error_;
};

}  // namespace imgbuild::oci
