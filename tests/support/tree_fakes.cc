#include "tests/support/tree_fakes.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <stdexcept>

#include "base/hash.h"
#include "base/stream.h"
#include "base/strings.h"
#include "oci/tar_writer.h"

namespace imgbuild::tests {

namespace {

using oci::FileType;
using oci::LayerEntry;

std::string entry_name(const LayerEntry& entry) {
  if (entry.kind == LayerEntry::Kind::whiteout) {
    const auto slash = entry.path.rfind('/') + 1;
    return cat('/', entry.path.substr(0, slash), ".wh.", entry.path.substr(slash));
  }
  const bool is_directory =
      entry.kind == LayerEntry::Kind::node && entry.attributes.type == FileType::directory;
  return cat('/', entry.path, is_directory ? "/" : "");
}

class MapContent final : public builder::ContentProvider {
 public:
  explicit MapContent(std::map<std::pair<Digest, std::string>, std::string> files)
      : files_(std::move(files)) {}
  oci::ContentOpener open(const oci::ContentOrigin& origin) override {
    return [bytes = files_.at({origin.layer.value, origin.path})] {
      return std::make_unique<StringSource>(bytes);
    };
  }

 private:
  const std::map<std::pair<Digest, std::string>, std::string> files_;
};

void keep(builder::SourceTree& all, builder::MemorySource& kept, const parser::IgnoreMatcher& rules,
          const parser::IgnoreMatcher::State& state, const std::string& directory) {
  for (const auto& [name, node] : all.list(directory)) {
    const std::string path = directory.empty() ? name : directory + "/" + name;
    const auto child = rules.enter(state, path);
    if (!child.ignored()) {
      if (node.attributes.type == FileType::regular) {
        const auto source = all.open(path)();
        kept.add_file(path, node.attributes, read_all(*source, 1 << 30, path), node.link_group);
      } else {
        kept.add(path, node);
      }
    }
    if (node.attributes.type != FileType::directory) continue;
    keep(all, kept, rules, child, path);
    // A directory that is there only for a kept child is like the original.
    if (child.ignored() && kept.find(path) && !kept.list(path).empty()) kept.add(path, node);
  }
}

/// libarchive writes PAX names outside ASCII only where the locale knows UTF-8. The thread's own comes back
/// at the end.
class Utf8Locale {
 public:
  Utf8Locale() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)), before_(::uselocale(locale_)) {}
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;
  ~Utf8Locale() {
    ::uselocale(before_);
    if (locale_ != nullptr) ::freelocale(locale_);
  }

 private:
  locale_t locale_;
  locale_t before_;
};

void check(int result, archive* handle) {
  if (result != ARCHIVE_OK) throw std::runtime_error(cat("libarchive: ", ::archive_error_string(handle)));
}

void write_member(archive* out, const TarSpec& spec) {
  archive_entry* const entry = ::archive_entry_new();
  ::archive_entry_set_pathname(entry, spec.path.c_str());
  ::archive_entry_set_perm(entry, static_cast<mode_t>(spec.mode));
  ::archive_entry_set_uid(entry, spec.uid);
  ::archive_entry_set_gid(entry, spec.gid);
  ::archive_entry_set_mtime(entry, spec.mtime, 0);
  ::archive_entry_set_size(entry, spec.type == 'f' ? static_cast<la_int64_t>(spec.content.size()) : 0);
  switch (spec.type) {
    case 'd':
      ::archive_entry_set_filetype(entry, AE_IFDIR);
      break;
    case 's':
      ::archive_entry_set_filetype(entry, AE_IFLNK);
      ::archive_entry_set_symlink(entry, spec.target.c_str());
      break;
    case 'h':
      ::archive_entry_set_filetype(entry, AE_IFREG);
      ::archive_entry_set_hardlink(entry, spec.target.c_str());
      break;
    case 'p':
      ::archive_entry_set_filetype(entry, AE_IFIFO);
      break;
    case 'c':
      ::archive_entry_set_filetype(entry, AE_IFCHR);
      ::archive_entry_set_rdevmajor(entry, 1);
      ::archive_entry_set_rdevminor(entry, 3);
      break;
    default:
      ::archive_entry_set_filetype(entry, AE_IFREG);
      break;
  }
  for (const auto& [name, value] : spec.xattrs) {
    ::archive_entry_xattr_add_entry(entry, name.c_str(), value.data(), value.size());
  }
  check(::archive_write_header(out, entry), out);
  if (spec.type == 'f' && !spec.content.empty()) {
    ::archive_write_data(out, spec.content.data(), spec.content.size());
  }
  ::archive_entry_free(entry);
}

}  // namespace

void FakeStack::push(const std::vector<oci::PendingEntry>& entries) {
  StringSink bytes;
  oci::TarWriter tar(bytes);
  oci::LayerIndex index;
  std::vector<std::string> names;
  std::vector<std::pair<std::string, std::string>> contents;
  for (const auto& pending : entries) {
    std::string content;
    if (pending.open) {
      const auto source = pending.open();
      content = read_all(*source, std::uint64_t{1} << 30, pending.entry.path);
    }
    StringSource source(content);
    tar.add(pending.entry, pending.open ? &source : nullptr);
    names.push_back(entry_name(pending.entry));
    index.entries.push_back(pending.entry);
    if (pending.open) index.entries.back().content = sha256(content);
    contents.emplace_back(pending.entry.path, std::move(content));
  }
  tar.finish();
  const oci::DiffId id{sha256(cat(layers_.size(), ' ', bytes.text()))};
  for (auto& [path, content] : contents) files_[{id.value, path}] = std::move(content);
  tree_ = tree_.apply(index, id);
  layers_.push_back(std::move(names));
}

std::shared_ptr<builder::ContentProvider> FakeStack::content() const {
  return std::make_shared<MapContent>(files_);
}

std::string FakeStack::read(const oci::FileNode& node) const {
  return node.origin ? files_.at({node.origin->layer.value, node.origin->path}) : std::string();
}

std::shared_ptr<builder::MemorySource> without_ignored(builder::SourceTree& all,
                                                       const parser::IgnoreMatcher& rules) {
  auto kept = std::make_shared<builder::MemorySource>();
  kept->add("", *all.find(""));
  keep(all, *kept, rules, {}, "");
  return kept;
}

std::string make_archive(const std::vector<TarSpec>& members, const std::string& compression,
                         const std::string& format) {
  const Utf8Locale utf8;
  const std::unique_ptr<archive, int (*)(archive*)> out(::archive_write_new(), ::archive_write_free);
  check(::archive_write_set_format_by_name(out.get(), format.c_str()), out.get());
  if (compression != "none")
    check(::archive_write_add_filter_by_name(out.get(), compression.c_str()), out.get());
  ::archive_write_set_bytes_in_last_block(out.get(), compression == "none" ? 10240 : 1);
  std::string bytes;
  const auto write = [](archive*, void* to, const void* data, std::size_t size) -> la_ssize_t {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), size);
    return static_cast<la_ssize_t>(size);
  };
  check(::archive_write_open2(out.get(), &bytes, nullptr, write, nullptr, nullptr), out.get());
  for (const auto& member : members) write_member(out.get(), member);
  check(::archive_write_close(out.get()), out.get());
  return bytes;
}

}  // namespace imgbuild::tests
