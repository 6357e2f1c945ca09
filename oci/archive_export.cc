#include "oci/archive_export.h"

#include <sys/stat.h>

#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/file_copy.h"
#include "base/strings.h"
#include "oci/archive_content.h"
#include "oci/descriptor_json.h"
#include "oci/layout.h"
#include "oci/tar_format.h"

namespace imgbuild::oci {

namespace {

/// To be raised whenever the same request makes other bytes than before.
constexpr int kArchiveRevision = 1;

std::string_view view(const tar::Block& block) { return {block.data(), block.size()}; }

/// The members of an archive of ours: short ASCII names, no owners, no times (REP-7).
class ArchiveWriter {
 public:
  explicit ArchiveWriter(Sink& out) : out_(out) {}

  void directory(std::string_view name) { header(name, 0755, 0, '5'); }
  void document(std::string_view name, std::uint32_t mode, std::string_view text) {
    header(name, mode, text.size(), '0');
    out_.write(text);
    pad(text.size());
  }
  void begin_blob(std::string_view name, std::uint64_t size) {
    if (!tar::fits_octal(tar::kSize, size)) {
      std::string record;
      tar::append_pax_record(record, "size", cat(size));
      header("PaxHeaders.0/blob", 0, record.size(), 'x');  // EXP-13
      out_.write(record);
      pad(record.size());
    }
    header(name, 0444, size, '0');
  }
  void pad(std::uint64_t size) {
    constexpr tar::Block kZeros{};
    out_.write(view(kZeros).substr(0, static_cast<std::size_t>(tar::padding(size))));
  }
  void end() {
    constexpr tar::Block kZeros{};
    out_.write(view(kZeros));
    out_.write(view(kZeros));
  }

 private:
  void header(std::string_view name, std::uint32_t mode, std::uint64_t size, char type) {
    tar::Block block{};
    tar::put_text(block, tar::kName, name);
    tar::put_octal(block, tar::kMode, mode);
    for (const tar::Field zero : {tar::kUid, tar::kGid, tar::kMtime, tar::kDevMajor, tar::kDevMinor}) {
      tar::put_octal(block, zero, 0);
    }
    tar::put_octal(block, tar::kSize, tar::fits_octal(tar::kSize, size) ? size : 0);
    block[tar::kTypeFlag.offset] = type;
    tar::put_text(block, tar::kMagic, tar::kUstarMagic);
    tar::put_text(block, tar::kVersion, "00");
    tar::seal(block);
    out_.write(view(block));
  }

  Sink& out_;
};

void copy_verified(const BlobStore& blobs, const Descriptor& blob, Sink& out, const std::stop_token& stop) {
  const auto source = blobs.open_blob(blob.digest);
  std::vector<char> buffer(kChunkSize);
  std::uint64_t total = 0;
  while (const std::size_t got = source->read(buffer)) {
    if (stop.stop_requested()) throw Cancelled();
    total += got;
    if (total > blob.size) break;
    out.write({buffer.data(), got});
  }
  if (total != blob.size) throw IntegrityError(cat("blob ", blob.digest.str(), " changed its size"));
}

/// `fd` is the file behind `out`, or -1.
void write_archive(const ExportRequest& request, const BlobStore& blobs, Sink& out, int fd,
                   const std::stop_token& stop) {
  const ArchiveContent content = collect_archive(request, blobs);
  ArchiveWriter tar(out);
  tar.directory("blobs/");
  tar.directory("blobs/sha256/");
  for (const auto& [hex, blob] : content.blobs) {
    tar.begin_blob(cat("blobs/sha256/", hex), blob.size);
    const UniqueFd file = fd >= 0 ? blobs.open_blob_file(blob.digest) : UniqueFd();
    if (file) {
      copy_file_bytes(file.get(), fd, blob.size, blob.digest.str(), stop);
    } else {
      copy_verified(blobs, blob, out, stop);
    }
    tar.pad(blob.size);
  }
  tar.document("index.json", 0644, content.index.serialize(false));
  if (!content.docker_manifest.empty()) tar.document("manifest.json", 0644, content.docker_manifest);
  tar.document("oci-layout", 0444, kLayoutMarker);
  tar.end();
}

/// Writes to a descriptor of somebody else.
class DescriptorSink final : public Sink {
 public:
  explicit DescriptorSink(int fd) : fd_(fd) {}
  void write(std::string_view bytes) override { write_all(fd_, bytes, "archive"); }

 private:
  int fd_;
};

}  // namespace

Digest archive_recipe(const ExportRequest& request) {
  std::string text = cat("imgbuild archive ", kArchiveRevision, "\nform ", static_cast<int>(request.form),
                         "\nplatform ", request.platform.str(), "\n");
  if (request.created)
    text += cat("created ", request.created->seconds, " ", request.created->nanoseconds, "\n");
  for (const auto& image : request.images) {
    JsonWriter target(false);
    write_descriptor(target, image.target);
    text += cat("target ", target.take(), "\n");
    for (const auto& name : image.names) text += cat("name ", name.str(), "\n");
  }
  return sha256(text);
}

void export_archive(const ExportRequest& request, const BlobStore& blobs, Sink& out, std::stop_token stop) {
  write_archive(request, blobs, out, -1, stop);
}

void export_archive_to_file(const ExportRequest& request, const BlobStore& blobs, int fd,
                            std::stop_token stop) {
  DescriptorSink out(fd);
  struct stat info {};
  if (::fstat(fd, &info) != 0) throw SystemError(errno, "stat", "archive");
  write_archive(request, blobs, out, S_ISREG(info.st_mode) ? fd : -1, stop);
}

}  // namespace imgbuild::oci
