#pragma once

#include <cstdint>
#include <functional>

namespace imgbuild::tests {

/// What `work` takes: instructions of this thread where the processor counts them for us, else nanoseconds of
/// processor time. Only good for comparing two amounts of work.
std::uint64_t measure_work(const std::function<void()>& work);

/// How much more work `large` is than `small`: the least of each that was measured. Measured again, up to ten
/// times, while it is more than `expected`, so that a busy machine does not fail a test that counts time.
double growth_of(const std::function<void()>& small, const std::function<void()>& large, double expected);

}  // namespace imgbuild::tests
