#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace imgbuild::builder {

/// A mounted directory that could carry a store with overlays where the store's own cannot (RLS-22): a volume
/// of a container, before memory. `mountinfo` is the text of that file in /proc; `free_bytes` tells how much
/// fits into a directory, 0 where it may not be written. Of several the one with the most room.
std::optional<std::string> find_store_place(
    std::string_view mountinfo, const std::function<std::uint64_t(const std::string& path)>& free_bytes);

/// The same for this machine. Never throws.
std::optional<std::string> find_store_place() noexcept;

}  // namespace imgbuild::builder
