#pragma once

#include <cstddef>

namespace imgbuild::parser {

// What one Dockerfile or ignore file may ask for (sandbox-and-security.md section 8).
inline constexpr std::size_t kMaxDockerfileBytes = 16u << 20;
inline constexpr std::size_t kMaxIgnoreFileBytes = 4u << 20;
inline constexpr std::size_t kMaxIgnorePatterns = 10'000;
inline constexpr std::size_t kMaxLineBytes = 65'535;  // PAR-6, without the line end
inline constexpr std::size_t kMaxStages = 1'000;
inline constexpr std::size_t kMaxInstructions = 100'000;
inline constexpr std::size_t kMaxHeredocBytes = 8u << 20;

}  // namespace imgbuild::parser
