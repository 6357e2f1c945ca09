#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/shared_task.h"
#include "base/thread_pool.h"
#include "oci/layer_entry.h"

namespace imgbuild::oci {

/// Opens and reads the contents of small files on a pool, some way ahead of the layer being written: opening
/// many files costs more than moving their bytes. Large files are left to the reader. Holds a bounded number
/// of small batches. One reader.
class ContentLoader {
 public:
  /// `entries` must outlive the loader. With `compute_content` it also hashes what has no digest yet. Without
  /// a pool nothing is loaded.
  ContentLoader(const std::vector<PendingEntry>& entries, bool compute_content, ThreadPool* pool);
  ~ContentLoader();
  ContentLoader(const ContentLoader&) = delete;
  ContentLoader& operator=(const ContentLoader&) = delete;

  struct Loaded {
    std::unique_ptr<Source> content;
    std::optional<Digest> digest;  ///< when it was asked for and not known
  };

  /// What was loaded of entry `index`, nothing if it is for the caller to open. To be called for every entry
  /// in turn. Throws what opening or reading threw.
  std::optional<Loaded> take(std::size_t index);

 private:
  struct Batch;

  void start_batches();
  std::shared_ptr<Batch> next_batch();

  const std::vector<PendingEntry>& entries_;
  const bool compute_content_;
  ThreadPool* const pool_;
  const std::size_t max_batches_;
  std::size_t next_entry_ = 0;  ///< the first that no batch has looked at
  std::deque<std::shared_ptr<Batch>> batches_;
};

}  // namespace imgbuild::oci
