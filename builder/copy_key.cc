#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/hash.h"
#include "base/strings.h"
#include "builder/copy_owner.h"
#include "builder/copy_selection.h"
#include "parser/file_mode.h"

namespace imgbuild::builder {

namespace {

using oci::FileAttributes;
using oci::FileType;

/// Up to here every entry has a field of its own, so that a miss can name the file that changed.
constexpr std::size_t kMaxFields = 200;

void append_number(std::string& out, std::uint64_t number) {
  std::array<char, 20> digits{};
  out.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
}

/// A part of a text that cannot run together with its neighbours.
void append_sized(std::string& out, std::string_view text) {
  append_number(out, text.size());
  out += ':';
  out += text;
}

using ModeChange = std::optional<parser::FileModeChange>;

/// The mode an entry will have: one that --chmod overrides has no part in the result, so none in the key.
std::uint32_t keyed_mode(const FileAttributes& attributes, const ModeChange& change) {
  if (attributes.type == FileType::symlink) return 0;
  return change ? change->apply(attributes.mode, attributes.type == FileType::directory) : attributes.mode;
}

/// What of an inode is keyed (CAC-22): no times, no link structure, of the kernel's own attributes only the
/// capabilities.
void append_attributes(std::string& out, const FileAttributes& attributes, const ModeChange& change) {
  static constexpr std::array<std::string_view, 6> kTypes{"file", "dir", "symlink", "char", "block", "fifo"};
  const bool is_link = attributes.type == FileType::symlink;
  out += kTypes.at(static_cast<std::size_t>(attributes.type));
  out += ' ';
  append_number(out, keyed_mode(attributes, change));
  out += ' ';
  append_number(out, attributes.uid);
  out += ':';
  append_number(out, attributes.gid);
  if (is_link) {
    out += ' ';
    append_sized(out, attributes.link_target);
  }
  if (attributes.type == FileType::char_device || attributes.type == FileType::block_device) {
    out += cat(' ', attributes.device_major, ',', attributes.device_minor);
  }
  for (const auto& [name, value] : attributes.xattrs) {
    if (name != "security.capability" && (name.starts_with("security.") || name.starts_with("system.")))
      continue;
    out += ' ';
    append_sized(out, name);
    append_sized(out, value);
  }
}

bool has_bytes(const SelectedNode& node) {
  return node.source().attributes.type == FileType::regular && node.source().attributes.size > 0;
}

std::size_t count_entries(const SelectedNode& node) {
  std::size_t count = 1;
  for (const auto& child : node.children()) count += count_entries(child);
  return count;
}

/// Visits a match and all below with the path below `path`, the nodes in the same order each time.
template <typename Visit>
void visit_all(const SelectedNode& node, std::string& path, const Visit& visit) {
  visit(node, path);
  const std::size_t length = path.size();
  for (const auto& child : node.children()) {
    if (!path.empty() && !child.name().empty()) path += '/';
    path += child.name();
    visit_all(child, path, visit);
    path.resize(length);
  }
}

/// The digest of all entries a source selected, and their fields while they are few.
class FilesDigest {
 public:
  FilesDigest(const ModeChange& change, cache::CacheKeyBuilder* fields) : change_(change), fields_(fields) {}

  /// `content`: of a node with bytes. `under` is what a miss puts before the path below the match.
  void add(const SelectedNode& node, const std::string& below, const Digest* content,
           const std::string& under) {
    line_.clear();
    append_sized(line_, below);
    const std::size_t described = line_.size();
    if (below.empty() && node.source().attributes.type == FileType::directory) {
      line_ += "dir";  // of a directory that is copied only the content reaches the image (COPY-20)
    } else {
      append_attributes(line_, node.source().attributes, change_);
    }
    if (node.source().attributes.type == FileType::regular) {
      line_ += ' ';
      append_number(line_, node.source().attributes.size);
      if (content != nullptr) line_ += cat(' ', content->hex());
    }
    line_ += '\n';
    hash_.update(line_);
    if (fields_ != nullptr) {
      const std::string label = join_path(under, below);
      fields_->add(cat("file ", label.empty() ? "." : printable(label)),
                   printable(line_.substr(described, line_.size() - described - 1)));
    }
  }
  void add_text(std::string_view text) {
    line_.clear();
    append_sized(line_, text);
    hash_.update(line_);
  }
  Digest finish() { return hash_.finish(); }

 private:
  const ModeChange& change_;
  cache::CacheKeyBuilder* fields_;
  Sha256 hash_;
  std::string line_;
};

/// The digests of all selected files with bytes, in the order of visit_all(). Asked for by the thousand,
/// since the paths of all would take as much room as the files themselves do in the selection.
class ContentDigests {
 public:
  explicit ContentDigests(SourceTree& tree) : tree_(tree) {}

  void add(const std::string& path, const SourceNode& node) {
    files_.push_back({path, &node});
    if (files_.size() == kFilesAtOnce) ask();
  }
  std::vector<Digest> take() {
    ask();
    return std::move(digests_);
  }

 private:
  static constexpr std::size_t kFilesAtOnce = 16 * 1024;

  void ask() {
    const auto digests = tree_.content_digests(files_);
    digests_.insert(digests_.end(), digests.begin(), digests.end());
    files_.clear();
  }

  SourceTree& tree_;
  std::vector<ListedFile> files_;
  std::vector<Digest> digests_;
};

std::vector<Digest> content_digests(SourceTree& tree, const std::vector<SelectedSource>& sources) {
  ContentDigests digests(tree);
  for (const auto& source : sources) {
    for (const auto& match : source.matches) {
      std::string path = match.path;
      visit_all(match.top, path, [&](const SelectedNode& node, const std::string& at) {
        if (has_bytes(node)) digests.add(at, node.source());
      });
    }
  }
  return digests.take();
}

bool belongs_to_root(const SelectedNode& node) {
  return node.source().attributes.uid == 0 && node.source().attributes.gid == 0 &&
         std::all_of(node.children().begin(), node.children().end(), belongs_to_root);
}

/// `content` is where the digests of this source's files begin; it is moved behind them, or null.
void add_source(cache::CacheKeyBuilder& key, const Digest*& content, const SelectedSource& source,
                const ModeChange& change, bool explain) {
  key.add("source", cat(source.parents ? "parents " : source.wildcard ? "wildcard " : "", source.key_name));
  FilesDigest files(change, explain ? &key : nullptr);
  for (const auto& match : source.matches) {
    const bool is_directory = match.top.source().attributes.type == FileType::directory;
    // The name of a directory does not reach the result: its content does.
    files.add_text(source.wildcard && !source.parents && !is_directory ? match.base_name : "");
    // Of a directory that a wildcard found the name is no part of the key, so it cannot be one of a label.
    const std::string under = source.wildcard && is_directory ? std::string() : source.key_name;
    std::string below;
    visit_all(match.top, below, [&](const SelectedNode& node, const std::string& path) {
      files.add(node, path, content != nullptr && has_bytes(node) ? content++ : nullptr, under);
    });
  }
  key.add("files", files.finish().str());
}

}  // namespace

/// Files of root stay root's without --chown, so 0:0 says the same; a member of an archive may be anybody's.
std::string Selection::keyed_owner() const {
  if (!request_.chown.empty() || request_.unpack_archives) return canonical_owner(request_.chown);
  for (const auto& source : sources_) {
    for (const auto& match : source.matches) {
      if (!belongs_to_root(match.top)) return {};
    }
  }
  return canonical_owner("0:0");
}

bool Selection::must_hash(std::uint64_t bytes) const {
  if (total_bytes_ < bytes) return false;
  std::uint64_t unknown = 0;
  for (const auto& source : sources_) {
    for (const auto& match : source.matches) {
      std::string path_of_match = match.path;
      visit_all(match.top, path_of_match, [&](const SelectedNode& node, const std::string& path) {
        if (unknown < bytes && has_bytes(node) && !tree_.digest_is_known(path))
          unknown += node.source().attributes.size;
      });
    }
  }
  return unknown >= bytes;
}

void Selection::add_fields(cache::CacheKeyBuilder& key, const Digest* digests) const {
  ModeChange change;
  if (!request_.chmod.empty()) change = parser::FileModeChange::parse(request_.chmod);
  key.add("destination", request_.destination);
  key.add("chown", keyed_owner());
  if (change) key.add("chmod", change->canonical());
  if (request_.unpack_archives) key.add("unpack", "true");
  for (const auto& pattern : request_.excludes) key.add("exclude", pattern);

  std::size_t entries = 0;
  for (const auto& source : sources_) {
    for (const auto& match : source.matches) entries += count_entries(match.top);
  }
  for (const auto& source : sources_) add_source(key, digests, source, change, entries <= kMaxFields);
  for (const auto& [name, data] : request_.inline_files) {
    key.add(cat("inline ", name), sha256(data).str());
  }
}

void Selection::add_to_key(cache::CacheKeyBuilder& key) const {
  add_fields(key, content_digests(tree_, sources_).data());
}

void Selection::add_outline_to_key(cache::CacheKeyBuilder& key) const { add_fields(key, nullptr); }

}  // namespace imgbuild::builder
