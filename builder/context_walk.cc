#include "builder/context_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <deque>
#include <functional>
#include <numeric>

#include "base/dir_list.h"
#include "base/error.h"
#include "base/strings.h"
#include "builder/work_crew.h"

namespace imgbuild::builder {

namespace {

using Rules = parser::IgnoreMatcher::State;

constexpr std::size_t kMaxLinkTarget = 4095;  // FS-27
constexpr int kReadAlone = 8;                 // directories
constexpr std::size_t kLongestOpen = 4000;    // the kernel takes 4095 bytes of path at once

std::string child_path(const std::string& directory, std::string_view name) {
  return directory.empty() ? std::string(name) : cat(directory, "/", name);
}

std::pair<std::string, std::string> split_last(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return {std::string(), path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

/// Relative, no empty, `.` or `..` component. Paths reach us from Dockerfiles; `..` must not reach fstatat.
bool is_clean(std::string_view path) {
  if (path.empty()) return true;
  if (path.find('\0') != std::string_view::npos) return false;
  const auto parts = split(path, '/');
  return std::none_of(parts.begin(), parts.end(),
                      [](std::string_view part) { return part.empty() || part == "." || part == ".."; });
}

Timestamp timestamp_of(const struct timespec& time) {
  return {time.tv_sec, static_cast<std::uint32_t>(time.tv_nsec)};
}

/// "It is not there (any more)", as opposed to "it cannot be looked at".
bool is_absence(int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EXDEV; }

std::string read_link(int dir, const std::string& name, const std::string& path) {
  std::string target(256, '\0');
  for (;;) {
    const ssize_t got = ::readlinkat(dir, name.c_str(), target.data(), target.size());
    if (got < 0) throw SystemError(errno, "read link", printable(path));
    if (static_cast<std::size_t>(got) < target.size()) {
      target.resize(static_cast<std::size_t>(got));
      return target;
    }
    if (target.size() > kMaxLinkTarget) throw Error(cat("the link ", printable(path), " is too long"));
    target.resize(target.size() * 2);
  }
}

std::uint32_t image_mode(const struct stat& info, ContextModes modes) {
  const auto mode = static_cast<std::uint32_t>(info.st_mode) & 07777u;
  if (modes == ContextModes::as_found || S_ISLNK(info.st_mode)) return mode;
  const bool runs = S_ISDIR(info.st_mode) || (mode & 0100u) != 0;
  return (mode & 07000u) | (runs ? 0755u : 0644u);
}

}  // namespace

/// Candidates: what is kept, and ignored directories that may hold something kept. Most entries of most
/// contexts have no traits, so these are apart.
struct ContextWalk::Listing {
  SourceListing entries;
  std::vector<std::pair<std::size_t, ContextTraits>> traits;  // by the place of the entry, in order

  const ContextTraits& traits_of(std::size_t i) const {
    static const ContextTraits none;
    const auto found = std::lower_bound(traits.begin(), traits.end(), i,
                                        [](const auto& one, std::size_t place) { return one.first < place; });
    return found == traits.end() || found->first != i ? none : found->second;
  }
  ContextEntry entry(std::size_t i) const { return {traits_of(i), entries[i].first, entries[i].second}; }
};

struct ContextWalk::Directory {
  std::mutex mutex;
  std::atomic<bool> ready{false};  // `listing` is final
  Listing listing;
  std::atomic<int> holds_kept{-1};                        // for ignored directories; -1: not known yet
  std::unordered_map<std::string, ContextEntry> singles;  // found by name while the directory was not listed
};

struct ContextWalk::Shard {
  std::mutex mutex;
  std::unordered_map<std::string, std::shared_ptr<Directory>> directories;
};

ContextWalk::ContextWalk(RootDir root, parser::IgnoreMatcher ignore, ContextOptions options)
    : root_(std::move(root)),
      ignore_(std::move(ignore)),
      options_(std::move(options)),
      shards_(std::make_unique<Shard[]>(kShards)) {}

ContextWalk::~ContextWalk() = default;

std::shared_ptr<ContextWalk::Directory> ContextWalk::directory(const std::string& path) {
  Shard& shard = shards_[std::hash<std::string>()(path) % kShards];
  const std::lock_guard guard(shard.mutex);
  auto& found = shard.directories[path];
  if (!found) found = std::make_shared<Directory>();
  return found;
}

UniqueFd ContextWalk::open(std::string_view path, int flags) const {
  std::optional<RootDir> deeper;
  const auto at = [&]() -> const RootDir& { return deeper ? *deeper : root_; };
  while (path.size() > kLongestOpen) {
    const auto cut = path.rfind('/', kLongestOpen);
    if (cut == std::string_view::npos)
      throw SystemError(ENAMETOOLONG, "open", printable(path.substr(0, 255)));
    deeper = RootDir(at().open_beneath(path.substr(0, cut), O_PATH | O_DIRECTORY));
    path.remove_prefix(cut + 1);
  }
  return at().open_beneath(path, flags | O_NOFOLLOW);
}

const ContextWalk::Listing& ContextWalk::listing(const std::string& path, const Rules& rules) {
  const auto dir = directory(path);
  if (dir->ready) return dir->listing;
  const std::lock_guard guard(dir->mutex);
  if (!dir->ready) {
    dir->listing = read_directory(path, rules);
    dir->ready = true;
  }
  return dir->listing;
}

ContextWalk::Listing ContextWalk::read_directory(const std::string& path, const Rules& rules) const {
  const UniqueFd fd = open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
  ++directories_opened_;
  std::vector<ContextEntry> found;
  list_names(fd.get(), path, [&](const char* name, unsigned char type) {
    if (auto entry = examine(fd.get(), name, path, rules, type)) found.push_back(std::move(*entry));
  });
  // Entries are large: they are moved once, and not whenever two of them are found in the wrong order.
  std::vector<std::size_t> order(found.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return found[a].name < found[b].name; });
  std::vector<SourceListing::Entry> sorted;
  sorted.reserve(found.size());
  Listing listing;
  for (const std::size_t i : order) {
    ContextEntry& entry = found[i];
    const bool is_directory = entry.node.attributes.type == oci::FileType::directory;
    // Of a file nobody needs the rules any more.
    if (entry.special != ContextEntry::Special::none || (is_directory && !ignore_.empty()))
      listing.traits.emplace_back(sorted.size(), std::move(static_cast<ContextTraits&>(entry)));
    sorted.emplace_back(std::move(entry.name), std::move(entry.node));
  }
  listing.entries = SourceListing(std::move(sorted));
  return listing;
}

std::optional<ContextEntry> ContextWalk::examine(int dir, const std::string& name,
                                                 const std::string& directory, const Rules& parent,
                                                 unsigned char type_hint) const {
  ContextEntry entry;
  if (!ignore_.empty()) {
    const std::string path = child_path(directory, name);
    entry.rules = ignore_.enter(parent, path);
    entry.ignored = entry.rules.ignored();
    // What is hidden for good is never looked at: this is what makes ignored trees free.
    if (entry.ignored && type_hint != DT_UNKNOWN && type_hint != DT_DIR) return std::nullopt;
    if (entry.ignored && !ignore_.may_hold_kept(entry.rules, path)) return std::nullopt;
  }

  struct stat info {};
  ++entries_listed_;
  if (::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
    if (errno == ENOENT) return std::nullopt;  // removed while the directory was read
    throw SystemError(errno, "stat", printable(child_path(directory, name)));
  }
  if (entry.ignored && !S_ISDIR(info.st_mode)) return std::nullopt;

  entry.name = name;
  const cache::FileIdentity& identity = entry.node.identity.emplace(
      cache::FileIdentity{info.st_dev, info.st_ino, static_cast<std::uint64_t>(info.st_size),
                          timestamp_of(info.st_mtim), timestamp_of(info.st_ctim)});
  oci::FileAttributes& attributes = entry.node.attributes;
  attributes.mode = image_mode(info, options_.modes);
  attributes.uid = options_.uid;
  attributes.gid = options_.gid;
  attributes.mtime = options_.mtime.value_or(identity.mtime);
  switch (info.st_mode & S_IFMT) {
    case S_IFREG:
      attributes.size = identity.size;
      break;
    case S_IFDIR:
      attributes.type = oci::FileType::directory;
      break;
    case S_IFIFO:
      attributes.type = oci::FileType::fifo;
      break;
    case S_IFLNK:
      attributes.type = oci::FileType::symlink;
      attributes.link_target = read_link(dir, name, child_path(directory, name));
      break;
    case S_IFSOCK:
      entry.special = ContextEntry::Special::socket;
      break;  // an empty file (COPY-40)
    default:
      // A file with a byte in it, so that whoever selects it asks for the content and gets the error (FS-51).
      entry.special = ContextEntry::Special::device;
      attributes.size = 1;
  }
  if (info.st_nlink > 1 && S_ISREG(info.st_mode)) {
    entry.node.link_group = identity.inode;
  }
  return entry;
}

ContextEntry ContextWalk::root_entry() const {
  struct stat info {};
  if (::fstat(root_.fd(), &info) != 0) throw SystemError(errno, "stat", "the build context");
  ContextEntry entry;
  oci::FileAttributes& attributes = entry.node.attributes;
  attributes.type = oci::FileType::directory;
  attributes.mode = image_mode(info, options_.modes);
  attributes.uid = options_.uid;
  attributes.gid = options_.gid;
  attributes.mtime = options_.mtime.value_or(timestamp_of(info.st_mtim));
  return entry;
}

/// The candidate at `path`, whether or not it holds anything that is kept.
std::optional<ContextEntry> ContextWalk::locate(const std::string& path) {
  if (path.empty()) return root_entry();
  if (!is_clean(path)) return std::nullopt;
  const auto [parent, name] = split_last(path);

  const auto dir = directory(parent);
  if (dir->ready) {
    const SourceListing& entries = dir->listing.entries;
    const auto* const found =
        std::lower_bound(entries.begin(), entries.end(), name,
                         [](const auto& a, const std::string& b) { return a.first < b; });
    if (found == entries.end() || found->first != name) return std::nullopt;
    return dir->listing.entry(static_cast<std::size_t>(found - entries.begin()));
  }
  const std::lock_guard guard(dir->mutex);
  if (const auto known = dir->singles.find(name); known != dir->singles.end()) return known->second;

  // One name of a directory that nobody listed: the directory need not be read for it.
  Rules rules;
  for (std::size_t end = path.find('/'); end != std::string::npos && !ignore_.empty();
       end = path.find('/', end + 1)) {
    const auto above = std::string_view(path).substr(0, end);
    rules = ignore_.enter(rules, above);
    if (rules.ignored() && !ignore_.may_hold_kept(rules, above)) return std::nullopt;
  }
  UniqueFd fd;
  try {
    fd = open(parent, O_PATH | O_DIRECTORY);
  } catch (const SystemError& error) {
    if (is_absence(error.error_number())) return std::nullopt;
    throw;
  }
  auto entry = name.size() > NAME_MAX ? std::nullopt : examine(fd.get(), name, parent, rules, DT_UNKNOWN);
  if (entry) dir->singles.emplace(name, *entry);
  return entry;
}

bool ContextWalk::holds_kept(const std::string& path, const Rules& rules) {
  const auto top = directory(path);
  if (top->holds_kept >= 0) return top->holds_kept == 1;
  // Depth first with a stack of our own; a tree may be deeper than a thread's stack.
  std::vector<std::pair<std::string, Rules>> pending{{path, rules}};
  std::vector<std::string> seen;
  while (!pending.empty()) {
    const auto [current, current_rules] = std::move(pending.back());
    pending.pop_back();
    const Listing& listed = listing(current, current_rules);
    for (std::size_t i = 0; i < listed.entries.size(); ++i) {
      const ContextTraits& traits = listed.traits_of(i);
      if (traits.ignored) {
        pending.emplace_back(child_path(current, listed.entries[i].first), traits.rules);
        continue;
      }
      for (std::string up = current;; up = split_last(up).first) {
        directory(up)->holds_kept = 1;
        if (up.size() <= path.size()) return true;
      }
    }
    seen.push_back(current);
  }
  for (const std::string& empty : seen) directory(empty)->holds_kept = 0;
  return false;
}

std::optional<ContextEntry> ContextWalk::find(const std::string& path) {
  auto entry = locate(path);
  if (entry && entry->ignored && !holds_kept(path, entry->rules)) return std::nullopt;
  return entry;
}

SourceListing ContextWalk::list(const std::string& path) {
  const auto entry = locate(path);
  if (!entry || entry->node.attributes.type != oci::FileType::directory) {
    throw Error(cat(printable(path), " is not a directory of the build context"));
  }
  const Listing& found = listing(path, entry->rules);
  std::vector<std::size_t> hidden;
  for (const auto& [i, traits] : found.traits) {
    if (traits.ignored && !holds_kept(child_path(path, found.entries[i].first), traits.rules))
      hidden.push_back(i);
  }
  if (hidden.empty()) return found.entries;
  std::vector<SourceListing::Entry> visible;
  visible.reserve(found.entries.size() - hidden.size());
  for (std::size_t i = 0; i < found.entries.size(); ++i)
    if (!std::binary_search(hidden.begin(), hidden.end(), i)) visible.push_back(found.entries[i]);
  return SourceListing(std::move(visible));
}

std::vector<ContextWalk::Step> ContextWalk::directories_in(const Step& step) {
  std::vector<Step> found;
  try {
    const Listing& listed = listing(step.first, step.second);
    for (std::size_t i = 0; i < listed.entries.size(); ++i) {
      const auto& [name, node] = listed.entries[i];
      if (node.attributes.type == oci::FileType::directory)
        found.emplace_back(child_path(step.first, name), listed.traits_of(i).rules);
    }
  } catch (const Error&) {
    // Whoever lists this directory meets the same error and has a place to report it.
  }
  return found;
}

void ContextWalk::prefetch(const std::string& path, ThreadPool* pool) {
  const auto entry = locate(path);
  if (!entry || entry->node.attributes.type != oci::FileType::directory) return;
  // A small tree is read before a thread has started.
  std::deque<Step> pending{{path, entry->rules}};
  for (int alone = 0; alone < kReadAlone && !pending.empty(); ++alone) {
    for (auto& step : directories_in(pending.front())) pending.push_back(std::move(step));
    pending.pop_front();
  }
  if (pending.empty()) return;
  WorkCrew<Step>::run(pool, {pending.begin(), pending.end()}, [this](const Step& step, WorkCrew<Step>& crew) {
    for (auto& below : directories_in(step)) crew.add(std::move(below));
  });
}

Rules ContextWalk::rules_of(const std::string& path) const {
  Rules rules;
  for (std::size_t end = 0; end != std::string::npos && !path.empty();) {
    end = path.find('/', end + 1);
    rules = ignore_.enter(rules, std::string_view(path).substr(0, end));
  }
  return rules;
}

std::string ContextWalk::rule_text(const Rules& rules) const {
  const parser::IgnorePattern& pattern = ignore_.patterns().at(static_cast<std::size_t>(rules.rule()));
  const std::string file = options_.ignore_name.empty() ? ".dockerignore" : printable(options_.ignore_name);
  const std::string text = cat(pattern.negated ? "!" : "", printable(pattern.text));
  if (pattern.line == 0) return cat("the pattern ", text);
  return cat("line ", pattern.line, " of ", file, " (", text, ")");
}

std::optional<std::string> ContextWalk::hiding_rule(const std::string& path) const {
  if (ignore_.empty() || !is_clean(path)) return std::nullopt;
  const Rules rules = rules_of(path);
  if (!rules.ignored() || rules.rule() < 0) return std::nullopt;
  return rule_text(rules);
}

std::optional<std::string> ContextWalk::deciding_rule(const std::string& path) const {
  if (ignore_.empty() || !is_clean(path)) return std::nullopt;
  const Rules rules = rules_of(path);
  if (rules.rule() < 0) return std::nullopt;
  return rule_text(rules);
}

bool ContextWalk::exists_on_disk(const std::string& path) const {
  if (!is_clean(path)) return false;
  try {
    (void)open(path, O_PATH);
    return true;
  } catch (const SystemError&) {
    return false;
  }
}

}  // namespace imgbuild::builder
