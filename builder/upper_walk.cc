#include "builder/upper_walk.h"

#include <fcntl.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>

#include "base/quiet_open.h"
#include "base/stream.h"
#include "builder/tree_stamps.h"
#include "builder/upper_entry.h"
#include "builder/upper_names.h"
#include "builder/work_crew.h"

namespace imgbuild::builder {

namespace {

using oci::FileNode;

constexpr std::size_t kWalkAlone = 256;    // entries; a small tree is walked before a thread has started
constexpr std::size_t kWorthSharing = 32;  // entries that are no directories

const FileNode* child_of(const FileNode* directory, std::string_view name) {
  if (directory == nullptr) return nullptr;
  const auto found = directory->children.find(name);
  return found == directory->children.end() ? nullptr : found->second.get();
}

/// A directory that is being walked, perhaps by several threads.
struct Directory {
  UniqueFd fd;
  std::string path;  ///< empty or with a slash at the end
  std::uint32_t depth = 0;
  const FileNode* below = nullptr;
  bool hides_below = false;
  UpperNames names;
};

/// A part of the result. The parts form a list in the order of a layer; each is written by one thread, which
/// may put others behind it.
struct Part {
  UpperFinds found;
  std::exception_ptr failure;  ///< what ended it
  Part* next = nullptr;
};

class Parts {
 public:
  Part& first() noexcept { return all_.front(); }
  /// Makes a part behind `part`, which belongs to the calling thread.
  Part& add_behind(Part& part) {
    const std::lock_guard guard(mutex_);
    Part& added = all_.emplace_back();
    added.next = part.next;
    part.next = &added;
    return added;
  }
  /// All of them joined, once nobody writes any more. Throws the first failure.
  UpperWalk join() {
    std::size_t count = 0;
    for (const Part* part = &first(); part != nullptr; part = part->next) {
      if (part->failure) std::rethrow_exception(part->failure);
      count += part->found.nodes.size();
    }
    UpperWalk out;
    out.nodes.reserve(count);
    out.memory.reserve(all_.size());
    for (Part* part = &first(); part != nullptr; part = part->next) {
      out.memory.push_back(std::move(part->found.nodes));
      out.memory.back().list(out.nodes);
      append(part->found.sockets, out.sockets);
      append(part->found.fuse_marks, out.fuse_marks);
    }
    return out;
  }

 private:
  template <typename T>
  static void append(std::vector<T>& from, std::vector<T>& to) {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
    from = {};
  }

  std::mutex mutex_;
  std::deque<Part> all_ = std::deque<Part>(1);
};

/// Entries of a directory for one thread to walk, and where the result goes.
struct Range {
  std::shared_ptr<const Directory> directory;
  std::size_t next = 0;
  std::size_t end = 0;
  Part* into = nullptr;
};

using Crew = WorkCrew<Range>;

/// What all threads of one walk share.
struct Shared {
  const std::shared_ptr<const RootDir>& upper;
  const DiffOptions& options;
  const TreeStamps* before;  ///< where they can be trusted
  Parts parts;
};

/// Walks one range and everything below it. Whenever another thread has nothing to do it gives one half of
/// what is left to it, of the outermost directory, where most is to be expected.
class RangeWalker {
 public:
  /// `pool`: called for help when there turns out to be much; may be null.
  RangeWalker(Shared& shared, Crew& crew, ThreadPool* pool)
      : shared_(shared), crew_(crew), pool_(pool), reader_(shared.upper, shared.options, shared.before) {}

  void walk(const Range& range) {
    part_ = range.into;
    try {
      if (range.directory->depth == 0 && range.next == 0) add_whiteouts(*range.directory);
      stack_.push_back({range, nullptr});
      while (!stack_.empty()) step();
    } catch (...) {
      part_->failure = std::current_exception();
    }
  }

 private:
  /// A range on the way down.
  struct Level {
    Range range;
    Part* rest = nullptr;  ///< for what comes behind the range, when a half of it was given away
  };

  void step() {
    if (crew_.hungry()) share();
    Level& level = stack_.back();
    if (level.range.next == level.range.end) {
      if (level.rest != nullptr) part_ = level.rest;
      stack_.pop_back();
      first_ = std::min(first_, stack_.size());
      return;
    }
    const auto directory = level.range.directory;  // `level` goes away when the stack grows
    const std::size_t i = level.range.next++;
    if (directory->names.gone(i)) return;
    if (++walked_ == kWalkAlone && pool_ != nullptr) crew_.call_for_help(*pool_);
    enter(*directory, i);
  }

  void enter(const Directory& directory, std::size_t i) {
    const char* const name = directory.names.at(i);
    const UpperPlace place{.dir = directory.fd.get(),
                           .depth = directory.depth,
                           .below = child_of(directory.below, name),
                           .parent_hides = directory.hides_below};
    auto inside = reader_.read(name, directory.path + name, place, part_->found);
    if (!inside) return;
    auto below = std::make_shared<Directory>();
    below->fd = std::move(inside->fd);
    below->path = directory.path + name + '/';
    below->depth = directory.depth + 1;
    below->below = inside->below;
    below->hides_below = inside->hides;
    below->names = UpperNames::read(below->fd.get(), below->path, shared_.options, part_->found.fuse_marks);
    add_whiteouts(*below);
    const std::size_t count = below->names.size();
    stack_.push_back({{std::move(below), 0, count, nullptr}, nullptr});
  }

  /// Directly after their directory (LAY-29), and only for what is there to be hidden (LAY-28).
  void add_whiteouts(const Directory& directory) {
    if (directory.below == nullptr) return;
    const UpperNames& names = directory.names;
    if (directory.hides_below) {
      for (const auto& [name, node] : directory.below->children)
        if (!names.has(name)) add_whiteout(directory.path + name, directory.depth, node.get(), part_->found);
      return;
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (!names.gone(i)) continue;
      if (const FileNode* gone = child_of(directory.below, names.at(i)))
        add_whiteout(directory.path + names.at(i), directory.depth, gone, part_->found);
    }
  }

  static bool is_worth_sharing(const Range& range, std::size_t from) {
    if (range.end - from >= kWorthSharing) return true;
    for (std::size_t i = from; i < range.end; ++i)
      if (range.directory->names.is_directory(i)) return true;
    return false;
  }

  void share() {
    for (std::size_t i = first_; i < stack_.size(); ++i) {
      Range& range = stack_[i].range;
      const std::size_t left = range.end - range.next;
      // Of the innermost one this thread keeps something for itself.
      const bool innermost = i + 1 == stack_.size();
      const std::size_t half = innermost ? left / 2 : left - left / 2;
      const std::size_t middle = range.end - half;
      if (half == 0 || !is_worth_sharing(range, middle)) {
        if (!innermost) first_ = i + 1;
        continue;
      }
      // Of the levels further in none was shared from, or this one would have been passed over: so up to the
      // end of its range this thread writes into the same part.
      if (stack_[i].rest == nullptr) stack_[i].rest = &shared_.parts.add_behind(*part_);
      Part& part = shared_.parts.add_behind(*part_);
      const std::size_t end = std::exchange(range.end, middle);
      crew_.add({range.directory, middle, end, &part});
      return;
    }
  }

  Shared& shared_;
  Crew& crew_;
  ThreadPool* const pool_;
  UpperEntryReader reader_;
  Part* part_ = nullptr;
  std::vector<Level> stack_;
  std::size_t first_ = 0;  ///< the levels further out have nothing to share, and will not have
  std::size_t walked_ = 0;
};

const TreeStamps* trusted_stamps(const DiffOptions& options) {
  const TreeStamps* before = options.whole ? options.whole->before : nullptr;
  return before != nullptr && before->clock_held() ? before : nullptr;
}

}  // namespace

oci::ContentOpener upper_opener(const std::shared_ptr<const RootDir>& upper, const std::string& path) {
  return [upper, path]() -> std::unique_ptr<Source> {
    return std::make_unique<FileSource>(open_without_atime([&](int flags) {
                                          return upper->open_beneath(path, flags | O_NOFOLLOW | O_NONBLOCK);
                                        }),
                                        path);
  };
}

UpperWalk walk_upper(const std::shared_ptr<const RootDir>& upper, const oci::FileTree& lower,
                     const DiffOptions& options) {
  Shared shared{upper, options, trusted_stamps(options), {}};
  auto root = std::make_shared<Directory>();
  root->fd = open_at(upper->fd(), ".", O_RDONLY | O_DIRECTORY);
  root->below = lower.root().get();
  root->hides_below = options.whole.has_value();
  Part& first = shared.parts.first();
  root->names = UpperNames::read(root->fd.get(), "", options, first.found.fuse_marks);
  const std::size_t count = root->names.size();
  Crew::run(nullptr, {Range{std::move(root), 0, count, &first}}, [&](const Range& range, Crew& crew) {
    RangeWalker(shared, crew, range.into == &first ? options.pool : nullptr).walk(range);
  });
  return shared.parts.join();
}

}  // namespace imgbuild::builder
