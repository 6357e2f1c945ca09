#include "oci/layout.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/strings.h"
#include "oci/image_graph.h"
#include "oci/json_reader.h"
#include "oci/media_type.h"

namespace imgbuild::oci {

namespace {

constexpr int kReadFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY;  // never waits for a FIFO's writer
constexpr std::uint64_t kMaxMarker = 4096;

std::string take(std::map<std::string, std::string>& annotations, std::string_view name) {
  const auto found = annotations.find(std::string(name));
  if (found == annotations.end()) return {};
  std::string value = std::move(found->second);
  annotations.erase(found);
  return value;
}

Reference parse_name(const std::string& text) {
  try {
    return Reference::parse(text);
  } catch (const Error& error) {
    throw IntegrityError(cat("index.json: ", error.message()));
  }
}

bool is_image(const Descriptor& entry) {
  return (is_manifest_type(entry.media_type) || is_index_type(entry.media_type)) &&
         entry.artifact_type.empty() && !entry.annotations.contains("vnd.docker.reference.type");
}

void add_name(std::vector<Reference>& names, Reference name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
}

std::string describe(const LayoutEntry& entry) {
  if (!entry.names.empty()) return entry.names.front().familiar();
  return entry.ref_name.empty() ? cat("@", entry.target.digest.str()) : printable(entry.ref_name);
}

bool has_tag(const LayoutEntry& entry, std::string_view selector) {
  if (entry.ref_name == selector) return true;
  return std::any_of(entry.names.begin(), entry.names.end(), [&](const Reference& name) {
    return name.tag() == selector || name.str() == selector || name.familiar() == selector;
  });
}

}  // namespace

void check_layout_marker(std::string_view text) {
  const std::string version = JsonValue::parse(text, "oci-layout").string_or_empty("imageLayoutVersion");
  if (!version.starts_with("1.")) {
    throw IntegrityError(
        cat("oci-layout: version \"", printable(version), "\" of the image layout is not supported"));
  }
}

std::vector<LayoutEntry> read_layout_index(std::string_view json) {
  std::vector<LayoutEntry> out;
  for (auto& entry : Index::parse(json, kOciIndex).manifests) {
    if (!is_image(entry)) continue;
    const std::string ref_name = take(entry.annotations, kRefNameAnnotation);
    const std::string full_name = take(entry.annotations, kContainerdNameAnnotation);
    (void)take(entry.annotations, kCreatedAnnotation);
    auto same = std::find_if(out.begin(), out.end(),
                             [&](const auto& other) { return other.target.digest == entry.digest; });
    if (same == out.end()) same = out.insert(out.end(), LayoutEntry{std::move(entry), {}, {}});
    if (same->ref_name.empty()) same->ref_name = ref_name;
    if (!full_name.empty()) {
      add_name(same->names, parse_name(full_name));
    } else if (ref_name.find_first_of("/:") != std::string::npos) {
      add_name(same->names, parse_name(ref_name));
    }
  }
  return out;
}

Layout Layout::open(const std::string& path) {
  Layout layout(RootDir::open(path));
  const auto read = [&](const char* name, std::uint64_t limit) {
    const UniqueFd file = layout.dir_.open_beneath(name, kReadFlags);
    return read_file(file.get(), limit, name);
  };
  try {
    check_layout_marker(read("oci-layout", kMaxMarker));
    layout.entries_ = read_layout_index(read("index.json", kMaxManifestSize));
  } catch (Error& error) {
    error.add_context(cat("reading the OCI layout ", printable(path)));
    throw;
  }
  return layout;
}

Descriptor Layout::select(std::string_view selector) const {
  if (selector.starts_with('@')) {
    const Digest digest = Digest::parse(selector.substr(1));
    if (const auto found = find_child(digest)) return *found;
  } else if (selector.empty() && entries_.size() == 1) {
    return entries_.front().target;
  } else {
    const std::string_view wanted = selector.empty() ? "latest" : selector;
    for (const auto& entry : entries_) {
      if (has_tag(entry, wanted)) return entry.target;
    }
  }
  Error error(selector.empty() ? cat("the OCI layout holds ", entries_.size(), " images, name one of them")
                               : cat("the OCI layout holds no image \"", printable(selector), "\""));
  std::vector<std::string> names;
  for (const auto& entry : entries_) names.push_back(describe(entry));
  if (!names.empty()) error.add_note(cat("it holds: ", join(names, ", ")));
  throw error;
}

std::optional<Descriptor> Layout::find_child(const Digest& digest) const {
  for (const auto& entry : entries_) {
    if (entry.target.digest == digest) return entry.target;
  }
  for (const auto& entry : entries_) {
    if (!is_index_type(entry.target.media_type)) continue;
    for (const auto& reached : reach(*this, entry.target, Children::at_least_one).manifests) {
      if (reached.descriptor.digest == digest) return reached.descriptor;
    }
  }
  return std::nullopt;
}

UniqueFd Layout::open_if_exists(const Digest& digest) const {
  try {
    UniqueFd file = dir_.open_beneath(cat("blobs/sha256/", digest.hex()), kReadFlags);
    struct stat info {};
    if (::fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode)) return file;
  } catch (const SystemError& error) {
    if (error.error_number() == ENOENT || error.error_number() == ENOTDIR) return {};
    if (error.error_number() != ELOOP && error.error_number() != EXDEV && error.error_number() != ENXIO)
      throw;
  }
  throw IntegrityError(cat("the blob ", digest.str(), " of the layout is not a regular file"));
}

std::optional<std::uint64_t> Layout::find_blob(const Digest& digest) const {
  const UniqueFd file = open_if_exists(digest);
  if (!file) return std::nullopt;
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) throw SystemError(errno, "stat blob", digest.str());
  return static_cast<std::uint64_t>(info.st_size);
}

UniqueFd Layout::open_blob_file(const Digest& digest) const {
  UniqueFd file = open_if_exists(digest);
  if (!file) throw Error(cat("the layout has no blob ", digest.str()));
  return file;
}

std::unique_ptr<Source> Layout::open_blob(const Digest& digest) const {
  UniqueFd file = open_blob_file(digest);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) throw SystemError(errno, "stat blob", digest.str());
  const std::string name = cat("blob ", digest.str());
  return std::make_unique<VerifySource>(std::make_unique<FileSource>(std::move(file), name), digest,
                                        static_cast<std::uint64_t>(info.st_size), name);
}

std::unique_ptr<BlobWriter> Layout::create() {
  throw Error("an OCI layout that is read cannot be written to");
}

}  // namespace imgbuild::oci
