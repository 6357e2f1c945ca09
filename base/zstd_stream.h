#pragma once

#include <memory>

#include "base/stream.h"

namespace imgbuild {

/// See make_compressor(). `level` 0…22, `threads` at least 1; the number does not change the output.
std::unique_ptr<Sink> make_zstd_sink(int level, std::size_t threads, Sink& out);
/// See make_decompressor().
std::unique_ptr<Source> make_unzstd_source(std::unique_ptr<Source> from);

}  // namespace imgbuild
