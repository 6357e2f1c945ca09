#pragma once

namespace imgbuild::builder {

/// Loads libarchive. Throws UnsupportedError when it cannot be had. Called before an archive of ADD or of a
/// context is read; a build without one never loads it.
void require_archive_library();

}  // namespace imgbuild::builder
