#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "builder/store/store_root.h"

namespace imgbuild::builder {

struct CheckRequest {
  bool repair = false;  ///< set aside or remove what is wrong, so that the next build makes or pulls it anew
  bool deep = false;    ///< also compare every file of extracted layers with its layer's index (FLT-17)
};

struct StoreProblem {
  std::string path;  ///< below the store
  std::string what;  ///< what is wrong
  bool repaired = false;
};

struct CheckReport {
  std::uint64_t blobs = 0, bytes = 0, names = 0, records = 0, indexes = 0, extracted = 0, files = 0;
  std::vector<StoreProblem> problems;
};

/// Reads everything in a store and says what is wrong: blobs whose bytes are not what their digest says,
/// names, records, indexes and extracted layers that are damaged, names whose image is not complete, things
/// that belong to nothing. Builds may go on meanwhile. With `repair` what is wrong is moved to `corrupt/`
/// (blobs, names, records, indexes) or removed (extracted layers). Throws SystemError, Cancelled.
CheckReport check_store(StoreRoot& store, const CheckRequest& request, std::stop_token stop = {});

}  // namespace imgbuild::builder
