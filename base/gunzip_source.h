#pragma once

#include <memory>

#include "base/stream.h"

namespace imgbuild {

/// Decompresses gzip of one or more members; see make_decompressor().
std::unique_ptr<Source> make_gunzip_source(std::unique_ptr<Source> from);

}  // namespace imgbuild
