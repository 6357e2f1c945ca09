#include "base/hash_chain.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

namespace imgbuild {

namespace {

constexpr std::size_t kMaxWaiting = 2 << 20;

}  // namespace

struct HashChain::State {
  struct Piece {
    std::string_view bytes;
    std::shared_ptr<const void> owner;
  };

  explicit State(std::uint64_t expected) : hash(expected) {}

  enum class Work { none, asked, running };  ///< asked: a task of the pool was told, and did not begin

  /// Hashes all there is. A task that comes too late, because its work was taken over, finds nothing to do.
  void run_if_asked() {
    std::unique_lock guard(mutex);
    if (work == Work::asked) run(guard);
  }

  void run(std::unique_lock<std::mutex>& guard) {
    work = Work::running;
    while (!pieces.empty()) {
      Piece piece = std::move(pieces.front());
      pieces.pop_front();
      guard.unlock();
      hash.update(piece.bytes);
      const std::size_t size = piece.bytes.size();
      piece.owner.reset();
      guard.lock();
      waiting -= size;
      changed.notify_all();
    }
    work = Work::none;
    changed.notify_all();
  }

  /// Returns when at most `most` bytes wait, and does the work itself where no worker has begun it.
  void make_room(std::unique_lock<std::mutex>& guard, std::size_t most) {
    while (waiting > most || (most == 0 && work != Work::none)) {
      if (work == Work::running)
        changed.wait(guard);
      else
        run(guard);
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Piece> pieces;
  std::size_t waiting = 0;  ///< bytes of `pieces` and of the one being hashed
  Work work = Work::none;
  Sha256 hash;  ///< of whoever runs
};

HashChain::HashChain(ThreadPool* pool, std::uint64_t expected)
    : pool_(pool), state_(std::make_shared<State>(expected)) {}

HashChain::~HashChain() {
  const std::lock_guard guard(state_->mutex);
  state_->pieces.clear();
}

void HashChain::add(std::string_view bytes, std::shared_ptr<const void> owner) {
  if (bytes.empty()) return;
  if (pool_ == nullptr) {
    state_->hash.update(bytes);
    return;
  }
  std::unique_lock guard(state_->mutex);
  state_->make_room(guard, kMaxWaiting > bytes.size() ? kMaxWaiting - bytes.size() : 0);
  state_->pieces.push_back({bytes, std::move(owner)});
  state_->waiting += bytes.size();
  if (state_->work != State::Work::none) return;
  state_->work = State::Work::asked;
  guard.unlock();
  (void)pool_->submit([state = state_] { state->run_if_asked(); });
}

Digest HashChain::digest() {
  std::unique_lock guard(state_->mutex);
  state_->make_room(guard, 0);
  return state_->hash.finish();
}

}  // namespace imgbuild
