#include "builder/copy_extract.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/copy_selection.h"

namespace imgbuild::builder {

namespace {

using oci::FileAttributes;
using oci::FileType;

class Extractor {
 public:
  Extractor(DraftTree& draft, DraftNode& root, const std::optional<Owner>& owner,
            ContentProvider& target_content, Spool& spool)
      : draft_(draft), root_(root), owner_(owner), target_content_(target_content), spool_(spool) {}

  void extract(ArchiveMember& member) {
    const std::string path = clean_source(member.path);
    if (is_reserved(path)) return;
    if (owner_) {
      member.attributes.uid = owner_->uid;
      member.attributes.gid = owner_->gid;
    }
    if (path.empty()) {
      // The destination itself is made by the instruction, whatever the archive says about `.`.
      if (member.link_to || member.attributes.type != FileType::directory)
        fail("open", path, "is a directory");
      return;
    }
    const auto slash = path.rfind('/');
    const std::string name = path.substr(slash + 1);
    DraftNode& parent = enter(slash == std::string::npos ? "" : path.substr(0, slash), path);
    if (member.link_to) return link(parent, name, path, *member.link_to);
    put(parent, name, path, member);
  }

  /// Directories get their times when nothing more is added to them.
  void finish() {
    for (const auto& [path, mtime] : directory_times_) {
      const auto place = draft_.resolve(root_, path, false);
      if (place.exists() && place.node->is_directory()) draft_.set_mtime(*place.node, mtime);
    }
  }

 private:
  /// A name that would be a whiteout in the layer (ADD-6).
  static bool is_reserved(const std::string& path) {
    const auto parts = split(path, '/');
    return std::any_of(parts.begin(), parts.end(),
                       [](std::string_view part) { return part.starts_with(".wh."); });
  }

  [[noreturn]] void fail(std::string_view operation, const std::string& path, std::string_view what) const {
    const std::string root = DraftTree::path_of(root_);
    throw Error(cat(operation, ' ', root == "/" ? "" : printable(root), '/', printable(path), ": ", what));
  }

  /// The directory `directory`, made where it is missing. Links on the way are followed inside the
  /// destination; one that leads nowhere is an error (ADD-4). `path` is for errors.
  DraftNode& enter(const std::string& directory, const std::string& path) {
    DraftNode* at = &root_;
    if (directory.empty()) return *at;
    for (const auto name : split(directory, '/')) {
      DraftNode* child = draft_.find(*at, name);
      if (child == nullptr) {
        at = &draft_.put(*at, name, implied_directory());
        continue;
      }
      if (child->attributes.type == FileType::symlink) {
        const auto place = draft_.resolve(root_, name, true, at);
        if (!place.exists()) fail("open", path, "no such file or directory");
        child = place.node;
      }
      if (!child->is_directory()) fail("open", path, "not a directory");
      at = child;
    }
    return *at;
  }

  static FileAttributes implied_directory() {
    FileAttributes attributes;
    attributes.type = FileType::directory;
    attributes.mode = 0755;
    return attributes;  // owner 0:0 even with --chown (ADD-3)
  }

  void put(DraftNode& parent, const std::string& name, const std::string& path, ArchiveMember& member) {
    const bool is_directory = member.attributes.type == FileType::directory;
    if (is_directory) directory_times_.emplace_back(path, member.attributes.mtime);
    DraftNode* const existing = draft_.find(parent, name);
    if (is_directory && existing != nullptr && existing->is_directory()) {
      draft_.set_attributes(*existing, std::move(member.attributes));
      return;
    }
    draft_.put(parent, name, std::move(member.attributes)).open = std::move(member.open);
  }

  void link(DraftNode& parent, const std::string& name, const std::string& path, const std::string& to) {
    const auto place = draft_.resolve(root_, clean_source(to), false);
    if (!place.exists()) fail("link", path, cat("no such file or directory: ", printable(to)));
    DraftNode& target = *place.node;
    if (target.is_directory()) fail("link", path, cat(printable(to), " is a directory"));
    if (&target == draft_.find(parent, name)) return;
    if (target.attributes.type != FileType::regular) {
      // Layers link files only; a second link, pipe or device is as good.
      draft_.put(parent, name, FileAttributes(target.attributes));
      return;
    }
    if (!target.in_layer) take_over(target);
    draft_.link(parent, name, target);
  }

  /// A file of the layers below becomes one of this layer, with all its names: a link cannot reach into
  /// another layer (LAY-24, LAY-25).
  void take_over(DraftNode& file) {
    const oci::FileNodePtr lower = file.lower;
    if (file.attributes.size > 0 && lower->origin) {
      const auto source = target_content_.open(*lower->origin)();
      file.open = spool_.opener(spool_.add(*source, file.attributes.size), file.attributes.size);
    }
    file.content = lower->content;
    draft_.mark_changed(file);
    if (lower->link_group == 0) return;
    file.link_group = draft_.new_link_group();
    oci::walk(draft_.below(), "", [&](const std::string& path, const oci::FileNodePtr& node) {
      if (node->link_group != lower->link_group) return true;
      const auto place = draft_.resolve(draft_.root(), path, false);
      if (!place.exists() || place.node->in_layer || place.node->lower != node) return true;
      place.node->link_group = file.link_group;
      place.node->open = file.open;
      place.node->content = file.content;
      draft_.mark_changed(*place.node);
      return true;
    });
  }

  DraftTree& draft_;
  DraftNode& root_;
  const std::optional<Owner>& owner_;
  ContentProvider& target_content_;
  Spool& spool_;
  std::vector<std::pair<std::string, Timestamp>> directory_times_;
};

}  // namespace

void extract_archive(DraftTree& draft, DraftNode& destination, std::vector<ArchiveMember> members,
                     const std::optional<Owner>& owner, ContentProvider& target_content, Spool& spool) {
  Extractor extractor(draft, destination, owner, target_content, spool);
  for (auto& member : members) extractor.extract(member);
  extractor.finish();
}

}  // namespace imgbuild::builder
