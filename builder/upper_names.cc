#include "builder/upper_names.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/dir_list.h"
#include "base/error.h"
#include "base/strings.h"
#include "builder/whiteout.h"

namespace imgbuild::builder {

namespace {

std::uint64_t first_bytes(std::string_view name) {
  std::uint64_t key = 0;
  for (std::size_t i = 0; i < sizeof key; ++i)
    key = key << 8 | (i < name.size() ? static_cast<unsigned char>(name[i]) : 0u);
  return key;
}

struct stat look_at(int dir, const std::string& path, const char* name) {
  struct stat info {};
  if (::fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
    throw SystemError(errno, "stat", printable(path + name));
  return info;
}

/// Only names of such a type can be whiteouts.
bool may_be_whiteout(unsigned char type) { return type == DT_CHR || type == DT_UNKNOWN; }

}  // namespace

UpperNames UpperNames::read(int dir, const std::string& path, const DiffOptions& options,
                            std::vector<FuseMarks>& marks) {
  UpperNames out;
  list_names(dir, path, [&](const char* name, unsigned char type) { out.add(name, type, false); });
  out.sort();
  if (options.whole) return out;
  if (options.of_fuse) out.translate_fuse_names(dir, path, marks);
  for (std::size_t i = 0; i < out.size(); ++i) {
    Name& name = out.names_[i];
    if (!name.gone && may_be_whiteout(name.type)) name.gone = is_whiteout(look_at(dir, path, out.at(i)));
  }
  return out;
}

void UpperNames::add(std::string_view name, unsigned char type, bool gone) {
  names_.push_back({first_bytes(name), text_.size(), type, gone});
  text_.append(name).push_back('\0');
}

void UpperNames::sort() {
  std::sort(names_.begin(), names_.end(), [this](const Name& a, const Name& b) {
    if (a.key != b.key) return a.key < b.key;
    return std::strcmp(text_.data() + a.offset, text_.data() + b.offset) < 0;
  });
}

bool UpperNames::is_directory(std::size_t i) const noexcept { return names_[i].type == DT_DIR; }

std::optional<std::size_t> UpperNames::find(std::string_view name) const noexcept {
  const std::uint64_t key = first_bytes(name);
  const auto found = std::lower_bound(names_.begin(), names_.end(), name, [&](const Name& a, auto wanted) {
    return a.key != key ? a.key < key : std::string_view(text_.data() + a.offset) < wanted;
  });
  if (found == names_.end() || std::string_view(text_.data() + found->offset) != name) return std::nullopt;
  return static_cast<std::size_t>(found - names_.begin());
}

bool UpperNames::has(std::string_view name) const noexcept {
  const auto found = find(name);
  return found && !gone(*found);
}

/// Helper names are no content; names that stand for deletions become what the kernel makes of one.
void UpperNames::translate_fuse_names(int dir, const std::string& path, std::vector<FuseMarks>& marks) {
  const auto is_marked = [&](const Name& name) {
    return std::string_view(text_.data() + name.offset).starts_with(kFusePrefix);
  };
  if (std::none_of(names_.begin(), names_.end(), is_marked)) return;
  FuseMarks found{.path = path.empty() ? path : path.substr(0, path.size() - 1)};
  std::vector<bool> dropped(size());
  const std::size_t count = size();
  for (std::size_t i = 0; i < count; ++i)
    if (is_marked(names_[i])) take_fuse_name(dir, path, i, found, dropped);
  if (found.helpers.empty()) return;
  std::vector<Name> kept;
  for (std::size_t i = 0; i < count; ++i)
    if (!dropped[i]) kept.push_back(names_[i]);
  names_ = std::move(kept);
  for (const auto& name : found.whiteouts) add(name, DT_CHR, true);
  sort();
  marks.push_back(std::move(found));
}

void UpperNames::take_fuse_name(int dir, const std::string& path, std::size_t i, FuseMarks& marks,
                                std::vector<bool>& dropped) {
  const std::string name = at(i);
  const auto meaning = fuse_name(name, look_at(dir, path, name.c_str()));
  if (meaning == FuseName::content) return;
  dropped[i] = true;
  if (meaning == FuseName::whiteout) {
    std::string deleted = name.substr(kFusePrefix.size());
    if (!find(deleted)) marks.whiteouts.push_back(std::move(deleted));
  }
  marks.helpers.push_back(name);
}

}  // namespace imgbuild::builder
