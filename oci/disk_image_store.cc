#include "oci/disk_image_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/use_log.h"
#include "oci/descriptor_json.h"

namespace imgbuild::oci {

namespace {

constexpr std::uint64_t kMaxTagFile = 1 << 20;

std::string file_name(const Reference& name) { return sha256(name.str()).hex(); }

struct DirCloser {
  void operator()(DIR* dir) const noexcept { ::closedir(dir); }
};

}  // namespace

DiskImageStore::DiskImageStore(const StoreDir& store, Syncer* syncer, UseLog* uses)
    : store_(store), syncer_(syncer), uses_(uses) {
  ensure_dir_at(store.fd(), "tags", 0700);
  tags_ = open_at(store.fd(), "tags", O_RDONLY | O_DIRECTORY);
}

std::optional<TaggedImage> DiskImageStore::read(const std::string& file) const {
  const UniqueFd fd = open_at_if_exists(tags_.get(), file, O_RDONLY | O_NONBLOCK);
  if (!fd) return std::nullopt;
  try {
    const JsonValue json = JsonValue::parse(read_file(fd.get(), kMaxTagFile, "tag"), "tag");
    const JsonValue* target = json.find("target");
    if (json.integer_or("version", 0) != 1 || target == nullptr) return std::nullopt;
    return TaggedImage{Reference::parse(json.string_or_empty("name")), read_descriptor(*target),
                       parse_rfc3339(json.string_or_empty("updated")),
                       json.string_or_empty("origin") == "pulled"};
  } catch (const Error&) {
    return std::nullopt;  // garbage is a name that is not there (FLT-16)
  }
}

std::optional<TaggedImage> DiskImageStore::find(const Reference& name) const {
  auto found = read(file_name(name));
  if (found && found->name != name) return std::nullopt;
  if (found && uses_ != nullptr) uses_->note(sha256(name.str()));
  return found;
}

void DiskImageStore::tag(const Reference& name, const Descriptor& target, const Timestamp& now, bool pulled) {
  // A build that changed nothing writes nothing.
  const auto known = find(name);
  if (known && !known->pulled) pulled = false;
  if (known && known->target == target && known->pulled == pulled) return;
  JsonWriter json(false);
  json.begin_object();
  json.key("version").number(1).key("name").string(name.str()).key("target");
  write_descriptor(json, target);
  json.key("updated").string(format_rfc3339(now));
  if (pulled) json.key("origin").string("pulled");
  json.end_object();
  store_.publish(tags_.get(), file_name(name), json.take(), syncer_);
}

bool DiskImageStore::untag(const Reference& name) {
  if (::unlinkat(tags_.get(), file_name(name).c_str(), 0) == 0) return true;
  if (errno == ENOENT) return false;
  throw SystemError(errno, "remove tag", name.str());
}

std::vector<TaggedImage> DiskImageStore::list() const {
  std::vector<TaggedImage> out;
  UniqueFd copy = open_at(tags_.get(), ".", O_RDONLY | O_DIRECTORY);
  const std::unique_ptr<DIR, DirCloser> dir(::fdopendir(copy.get()));
  if (!dir) throw SystemError(errno, "list tags");
  (void)copy.release();
  while (const dirent* entry = ::readdir(dir.get())) {
    if (entry->d_name[0] == '.') continue;
    if (auto found = read(entry->d_name)) out.push_back(std::move(*found));
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

}  // namespace imgbuild::oci
