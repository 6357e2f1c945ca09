#pragma once

#include <cstdint>
#include <stop_token>
#include <string_view>

namespace imgbuild {

/// Copies exactly `size` bytes from the offset of `from` to the offset of `to`, inside the kernel where the
/// file systems allow it. `name` is for errors. Throws IntegrityError when `from` ends early, SystemError,
/// Cancelled.
void copy_file_bytes(int from, int to, std::uint64_t size, std::string_view name, std::stop_token stop = {});

/// Makes the empty file `to` share all blocks of `from`. False when the file system cannot; `to` is then
/// unchanged.
bool try_reflink(int from, int to) noexcept;

}  // namespace imgbuild
