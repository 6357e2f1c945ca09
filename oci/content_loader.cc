#include "oci/content_loader.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <exception>
#include <span>

#include "base/digesting_source.h"
#include "base/hash.h"
#include "base/stream.h"

namespace imgbuild::oci {

namespace {

constexpr std::uint64_t kMaxFileSize = 128 << 10;
constexpr std::size_t kMaxBatchBytes = 256 << 10;
constexpr std::size_t kMaxBatchFiles = 64;

bool is_small_file(const PendingEntry& pending) {
  const LayerEntry& entry = pending.entry;
  return pending.open && has_bytes(entry) && entry.attributes.size <= kMaxFileSize;
}

/// Bytes that a batch holds.
class LoadedSource final : public Source {
 public:
  LoadedSource(std::shared_ptr<const void> owner, std::span<const char> bytes)
      : owner_(std::move(owner)), bytes_(bytes) {}
  std::size_t read(std::span<char> buffer) override {
    const std::size_t count = std::min(buffer.size(), bytes_.size());
    std::copy_n(bytes_.data(), count, buffer.data());
    bytes_ = bytes_.subspan(count);
    return count;
  }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const char> bytes_;
};

}  // namespace

/// Files that one task reads into one buffer.
struct ContentLoader::Batch {
  struct Item {
    std::size_t index = 0;
    const ContentOpener* open = nullptr;
    std::size_t size = 0;  ///< as announced
    bool hash = false;
    std::size_t offset = 0;
    std::size_t got = 0;  ///< one more than announced when there is more
    std::optional<Digest> digest;
    std::exception_ptr error;
  };

  std::vector<Item> items;
  std::size_t bytes = 0;
  std::size_t next = 0;  ///< the reader's
  bool joined = false;
  std::vector<char> buffer;
  std::shared_ptr<SharedTask> task;
  std::atomic<bool> dropped{false};  ///< nobody wants the rest any more

  void load() {
    buffer.resize(bytes);
    for (Item& item : items) {
      if (dropped) return;
      try {
        load(item);
      } catch (...) {
        item.error = std::current_exception();
      }
    }
  }

  void load(Item& item) {
    const auto content = (*item.open)();
    const std::span<char> room = std::span(buffer).subspan(item.offset, item.size + 1);
    while (content && item.got < room.size()) {
      const std::size_t got = content->read(room.subspan(item.got));
      if (got == 0) break;
      item.got += got;
    }
    if (item.hash && content) item.digest = digest_of(*content);
    if (item.hash && !item.digest) item.digest = sha256({room.data(), std::min(item.got, item.size)});
  }
};

ContentLoader::ContentLoader(const std::vector<PendingEntry>& entries, bool compute_content, ThreadPool* pool)
    : entries_(entries),
      compute_content_(compute_content),
      pool_(pool),
      max_batches_(pool == nullptr ? 0 : 2 * pool->size() + 2) {}

ContentLoader::~ContentLoader() {
  for (const auto& batch : batches_) batch->dropped = true;
  // The tasks use the entries, which are the caller's.
  for (const auto& batch : batches_) {
    try {
      if (!batch->joined) batch->task->join();
    } catch (...) {
      // The layer has failed already, or this one would not have been the first.
    }
  }
}

std::shared_ptr<ContentLoader::Batch> ContentLoader::next_batch() {
  auto batch = std::make_shared<Batch>();
  for (; next_entry_ < entries_.size(); ++next_entry_) {
    const PendingEntry& pending = entries_[next_entry_];
    if (!is_small_file(pending)) continue;
    const auto size = static_cast<std::size_t>(pending.entry.attributes.size);
    const bool full = batch->bytes + size + 1 > kMaxBatchBytes || batch->items.size() == kMaxBatchFiles;
    if (full && !batch->items.empty()) break;
    Batch::Item item{.index = next_entry_, .open = &pending.open, .size = size, .offset = batch->bytes};
    item.hash = compute_content_ && !pending.entry.content;
    batch->bytes += size + 1;
    batch->items.push_back(std::move(item));
  }
  return batch->items.empty() ? nullptr : batch;
}

void ContentLoader::start_batches() {
  while (batches_.size() < max_batches_) {
    auto batch = next_batch();
    if (!batch) return;
    batch->task = SharedTask::start(pool_, [work = batch.get(), batch] { work->load(); });
    batches_.push_back(std::move(batch));
  }
}

std::optional<ContentLoader::Loaded> ContentLoader::take(std::size_t index) {
  if (pool_ == nullptr || !is_small_file(entries_[index])) return std::nullopt;
  if (!batches_.empty() && batches_.front()->next == batches_.front()->items.size()) batches_.pop_front();
  start_batches();
  Batch& batch = *batches_.front();
  if (!batch.joined) {
    batch.joined = true;
    batch.task->join();
  }
  const Batch::Item& item = batch.items[batch.next++];
  assert(item.index == index);
  if (item.error) std::rethrow_exception(item.error);
  return Loaded{std::make_unique<LoadedSource>(batches_.front(),
                                               std::span(batch.buffer).subspan(item.offset, item.got)),
                item.digest};
}

}  // namespace imgbuild::oci
