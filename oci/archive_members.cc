#include "oci/archive_members.h"

#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "oci/image_graph.h"

namespace imgbuild::oci {

namespace {

constexpr TarLimits kLimits{
    .entries = 100'000, .total_size = std::uint64_t{1} << 40, .file_size = std::uint64_t{64} << 30};
constexpr std::string_view kBlobs = "blobs/sha256/";
constexpr int kMaxHops = 16;

[[noreturn]] void refuse(std::string_view path, std::string_view why) {
  throw IntegrityError(cat("the image archive has a member \"", printable(path.substr(0, 200)), "\": ", why));
}

bool is_document(std::string_view path) {
  return path == "index.json" || path == "manifest.json" || path == "oci-layout";
}

/// What old versions of Docker wrote and nobody reads any more.
bool is_ignored(std::string_view path) {
  return path == "repositories" || path == "index.json.lock" || path.ends_with("/VERSION") ||
         path.ends_with("/json");
}

/// `target` as seen from the directory of `link`, without `.` and `..`; empty when it leads out of the
/// archive.
std::string join_link(std::string_view link, std::string_view target) {
  if (target.starts_with('/')) return {};
  std::vector<std::string> parts;
  for (const auto part : split(link, '/')) parts.emplace_back(part);
  parts.pop_back();
  for (const auto part : split(target, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.emplace_back(part);
    } else if (parts.empty()) {
      return {};
    } else {
      parts.pop_back();
    }
  }
  return join(parts, "/");
}

}  // namespace

ArchiveMembers ArchiveMembers::read(Source& tar, BlobStore& blobs, const std::stop_token& stop) {
  ArchiveMembers out;
  TarReader reader(tar, kLimits);
  while (const TarMember* member = reader.next()) {
    if (stop.stop_requested()) throw Cancelled();
    out.take(*member, reader, blobs, stop);
  }
  reader.drain();
  return out;
}

void ArchiveMembers::take(const TarMember& member, TarReader& reader, BlobStore& blobs,
                          const std::stop_token& stop) {
  const LayerEntry& entry = member.entry;
  using Kind = LayerEntry::Kind;
  if (entry.kind == Kind::whiteout || entry.kind == Kind::opaque)
    refuse(entry.path, "an image archive has no deletions");
  const bool is_node = entry.kind == Kind::node;
  if (is_node && entry.attributes.type == FileType::directory) return;
  if (!seen_.insert(entry.path).second) refuse(entry.path, "it comes twice");
  if (is_node && entry.attributes.type == FileType::regular) {
    take_file(entry.path, entry.attributes.size, reader, blobs, stop);
    return;
  }
  if (is_node && entry.attributes.type != FileType::symlink)
    refuse(entry.path, "it is neither a file nor a directory");
  if (is_document(entry.path) || entry.path.starts_with("blobs/"))
    refuse(entry.path, "it is a link where a file must be");
  links_[entry.path] = is_node ? join_link(entry.path, entry.attributes.link_target) : entry.hard_link_target;
}

void ArchiveMembers::take_file(const std::string& path, std::uint64_t size, TarReader& reader,
                               BlobStore& blobs, const std::stop_token& stop) {
  TarContent content(reader);
  if (is_document(path)) {
    if (size > kMaxManifestSize) refuse(path, cat("it is larger than ", human_size(kMaxManifestSize)));
    documents_[path] = read_all(content, kMaxManifestSize, path);
    return;
  }
  if (is_ignored(path)) return;
  std::optional<Digest> named;
  if (path.starts_with(kBlobs)) {
    named = Digest::parse(cat("sha256:", path.substr(kBlobs.size())));
    if (blobs.find_blob(*named) == size) {
      files_.emplace(path, Stored{*named, size});  // what is stored is trusted and verified when it is read
      return;
    }
  }
  const auto writer = blobs.create();
  HashSink hash(*writer);
  std::vector<char> buffer(kChunkSize);
  while (const std::size_t got = content.read(buffer)) {
    if (stop.stop_requested()) throw Cancelled();
    hash.write({buffer.data(), got});
  }
  const Digest digest = hash.digest();
  if (named && *named != digest) refuse(path, cat("its bytes have the digest ", digest.str()));
  writer->commit(digest);
  files_.emplace(path, Stored{digest, size});
}

const std::string* ArchiveMembers::find_document(const std::string& name) const {
  const auto found = documents_.find(name);
  return found == documents_.end() ? nullptr : &found->second;
}

ArchiveMembers::Stored ArchiveMembers::file(const std::string& path) const {
  std::string at = join_link("", path);
  for (int hops = 0; hops <= kMaxHops; ++hops) {
    if (at.empty())
      throw IntegrityError(
          cat("the image archive names \"", printable(path.substr(0, 200)), "\", which is outside of it"));
    if (const auto found = files_.find(at); found != files_.end()) return found->second;
    const auto link = links_.find(at);
    if (link == links_.end()) break;
    at = link->second;
  }
  throw IntegrityError(
      cat("the image archive names \"", printable(path.substr(0, 200)), "\", which is not in it"));
}

}  // namespace imgbuild::oci
