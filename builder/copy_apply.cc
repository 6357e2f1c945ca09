#include <map>
#include <optional>
#include <tuple>

#include "base/error.h"
#include "base/stream.h"
#include "base/strings.h"
#include "builder/copy_archive.h"
#include "builder/copy_extract.h"
#include "builder/copy_owner.h"
#include "builder/copy_selection.h"
#include "builder/draft_tree.h"
#include "builder/spool.h"
#include "parser/file_mode.h"

namespace imgbuild::builder {

namespace {

using oci::FileAttributes;
using oci::FileType;

bool names_directory(std::string_view destination) {
  return destination.empty() || destination == "." || destination.ends_with('/') ||
         destination.ends_with("/.");
}

/// Applies the selected sources to a draft of the target, one after the other (the reference algorithm
/// of 4.6).
class CopyApplier {
 public:
  CopyApplier(const CopyRequest& request, const Selection& selection, const oci::FileTree& target,
              ContentProvider& owner_files)
      : request_(request),
        tree_(selection.tree()),
        target_content_(owner_files),
        draft_(target, request.build_time) {
    if (!request.chown.empty()) owner_ = resolve_owner(request.chown, target, owner_files);
    if (!request.chmod.empty()) mode_ = parser::FileModeChange::parse(request.chmod);
  }

  /// Archives go first, then the other matches (ADD-1, ADD-8).
  void apply(const SelectedSource& source) {
    std::vector<const Match*> rest;
    for (const auto& match : source.matches) {
      if (!request_.unpack_archives || !unpack(match)) rest.push_back(&match);
    }
    for (const Match* match : rest) apply(*match);
  }

  void apply(const Match& match) {
    const bool is_directory = match.top.source().attributes.type == FileType::directory;
    Target target = prepare(is_directory, match.base_name);
    links_.clear();
    if (is_directory) {
      merge_top(match, *target.directory);
    } else {
      copy_file(match.top, match.path, *target.directory, target.name);
    }
  }

  /// A here-document: a file of its own, made by this instruction.
  void apply_inline(const std::string& name, const std::string& data) {
    FileAttributes attributes;
    attributes.mode = 0644;
    attributes.mtime = request_.build_time;
    attributes.size = data.size();
    const Target target = prepare(false, base_name_of(name));
    DraftNode& file = replace(*target.directory, target.name, converted(attributes));
    file.content = sha256(data);
    if (!data.empty()) file.open = [data] { return std::make_unique<StringSource>(data); };
  }

  std::vector<oci::PendingEntry> take_layer() { return draft_.take_layer(); }

 private:
  /// Where a source goes: into `directory` itself, or there under `name`.
  struct Target {
    DraftNode* directory;
    std::string name;
  };

  /// Unpacks the match if it is an archive, and tells whether it is one.
  bool unpack(const Match& match) {
    const FileAttributes& attributes = match.top.source().attributes;
    if (attributes.type != FileType::regular || attributes.size == 0) return false;
    if (!spool_) spool_.emplace(request_.spool.work_fd(), request_.stop);
    auto members = read_archive(tree_.open(match.path), match.base_name, *spool_);
    if (!members) return false;
    // DEST is a directory then, with or without a slash; --chmod has no part in it (ADD-3).
    DraftNode& directory = make_directories(draft_.resolve(draft_.root(), request_.destination), 0755);
    extract_archive(draft_, directory, std::move(*members), owner_, target_content_, *spool_);
    return true;
  }

  /// Finds DEST and makes the directories it needs (COPY-21, 24, 28).
  Target prepare(bool source_is_directory, const std::string& base_name) {
    const std::string& destination = request_.destination;
    if (names_directory(destination)) {
      DraftNode& directory = make_directories(draft_.resolve(draft_.root(), destination));
      return {&directory, base_name};
    }
    const std::string parent = destination.substr(0, destination.rfind('/') + 1);
    make_directories(draft_.resolve(draft_.root(), parent));
    DraftTree::Place place = draft_.resolve(draft_.root(), destination);
    if (source_is_directory) {
      if (place.exists() && !place.node->is_directory()) refuse_non_directory(*place.node);
      if (request_.takes_root && mode_ && !place.exists())
        return {&make_directories(place, mode_->apply(0755, true)), ""};
      return {&make_directories(place), ""};
    }
    if (place.exists() && place.node->is_directory()) return {place.node, base_name};
    if (place.exists()) return {place.node->parent, std::string(place.node->name)};
    std::string name = std::move(place.missing.back());
    place.missing.pop_back();
    return {&make_directories(place), std::move(name)};
  }

  DraftNode& make_directories(const DraftTree::Place& place) {
    return make_directories(
        place, mode_ && mode_->is_octal() ? mode_->apply(0755, true) & 0777 : 0755);  // COPY-61, 62
  }
  DraftNode& make_directories(const DraftTree::Place& place, std::uint32_t mode) {
    FileAttributes attributes;
    attributes.type = FileType::directory;
    attributes.mode = mode;
    if (owner_) std::tie(attributes.uid, attributes.gid) = std::tie(owner_->uid, owner_->gid);
    return draft_.make_directories(place, attributes);
  }

  /// A directory source: DEST takes its content and its time, nothing else (COPY-20, 25). The root of a
  /// source has no time that means anything (COPY-41).
  void merge_top(const Match& match, DraftNode& directory) {
    for (const auto& child : match.top.children())
      copy(child, join_path(match.path, child.name()), directory);
    draft_.set_mtime(directory,
                     match.path.empty() ? request_.build_time : match.top.source().attributes.mtime);
  }

  void copy(const SelectedNode& node, const std::string& path, DraftNode& parent) {
    if (node.source().attributes.type != FileType::directory)
      return copy_file(node, path, parent, node.name());
    DraftNode& directory = copy_directory(node, parent);
    for (const auto& child : node.children()) copy(child, join_path(path, child.name()), directory);
    if (!node.on_the_way()) draft_.set_mtime(directory, node.source().attributes.mtime);
  }

  /// A directory below the top: like the source's, whether it was there or not (COPY-26). One that is only on
  /// the way to something selected is made like the source's but left alone when it is there.
  DraftNode& copy_directory(const SelectedNode& node, DraftNode& parent) {
    DraftNode* const existing = draft_.find(parent, node.name());
    FileAttributes attributes = converted(node.source().attributes);
    if (existing == nullptr) {
      if (node.on_the_way()) attributes.mtime = request_.build_time;
      return draft_.put(parent, node.name(), std::move(attributes));
    }
    if (!existing->is_directory()) refuse_non_directory(*existing);
    if (!node.on_the_way()) draft_.set_attributes(*existing, std::move(attributes));
    return *existing;
  }

  void copy_file(const SelectedNode& node, const std::string& path, DraftNode& parent,
                 std::string_view name) {
    if (node.source().link_group != 0) {
      if (const auto first = links_.find(node.source().link_key()); first != links_.end()) {
        return link_file(parent, name, first->second);
      }
    }
    DraftNode& file = replace(parent, name, converted(node.source().attributes));
    if (file.attributes.type == FileType::regular && file.attributes.size > 0) {
      file.open = tree_.open(path);
      if (may_be_unchanged(file)) file.content = tree_.content_digest(path);
    }
    if (node.source().link_group != 0) links_.emplace(node.source().link_key(), &file);
  }

  /// Only then is it worth asking for the digest, to leave out of the layer what is there already.
  static bool may_be_unchanged(const DraftNode& file) {
    return file.lower && file.lower->content && file.lower->attributes.size == file.attributes.size &&
           file.lower->attributes.mtime.seconds == file.attributes.mtime.seconds;
  }

  void link_file(DraftNode& parent, std::string_view name, DraftNode* first) {
    refuse_directory(parent, name);
    draft_.link(parent, name, *first);
  }

  DraftNode& replace(DraftNode& parent, std::string_view name, FileAttributes attributes) {
    refuse_directory(parent, name);
    return draft_.put(parent, name, std::move(attributes));
  }

  void refuse_directory(DraftNode& parent, std::string_view name) {
    const DraftNode* const existing = draft_.find(parent, name);
    if (existing == nullptr || !existing->is_directory()) return;
    throw Error(cat("cannot replace to directory ", printable(DraftTree::path_of(*existing)), " with file"));
  }

  [[noreturn]] static void refuse_non_directory(const DraftNode& node) {
    throw Error(cat("cannot copy to non-directory: ", printable(DraftTree::path_of(node))));
  }

  /// A source's attributes as the copy gets them (COPY-40…44, 54, 60; CFG-41).
  FileAttributes converted(const FileAttributes& source) const {
    FileAttributes attributes = source;
    if (owner_) std::tie(attributes.uid, attributes.gid) = std::tie(owner_->uid, owner_->gid);
    if (attributes.type == FileType::symlink) {
      attributes.mode = 0777;  // links have none; one value keeps layers equal
    } else if (mode_) {
      attributes.mode = mode_->apply(attributes.mode, attributes.type == FileType::directory);
    }
    attributes.xattrs.erase_if(
        [](const auto& attribute) { return attribute.first != "security.capability"; });
    return attributes;
  }

  const CopyRequest& request_;
  SourceTree& tree_;
  ContentProvider& target_content_;
  DraftTree draft_;
  std::optional<Spool> spool_;
  std::optional<Owner> owner_;
  std::optional<parser::FileModeChange> mode_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, DraftNode*>
      links_;  ///< by link_key(); of the current match (COPY-40)
};

}  // namespace

std::vector<oci::PendingEntry> plan_copy(const CopyRequest& request, const CopySelection& selection,
                                         const oci::FileTree& target, ContentProvider& owner_files) {
  const auto& selected = dynamic_cast<const Selection&>(selection);
  CopyApplier applier(request, selected, target, owner_files);
  for (const auto& source : selected.sources()) applier.apply(source);
  for (const auto& [name, data] : request.inline_files) applier.apply_inline(name, data);
  return applier.take_layer();
}

std::vector<oci::PendingEntry> plan_workdir(const std::string& path, const std::string& user,
                                            const oci::FileTree& target, ContentProvider& owner_files,
                                            const Timestamp& build_time) {
  DraftTree draft(target, build_time);
  const auto place = draft.resolve(draft.root(), path);
  FileAttributes attributes;
  attributes.type = FileType::directory;
  attributes.mode = 0755;
  const Owner owner = resolve_owner(user, target, owner_files);
  attributes.uid = owner.uid;
  attributes.gid = owner.gid;
  draft.make_directories(place, attributes);
  return draft.take_layer();
}

}  // namespace imgbuild::builder
