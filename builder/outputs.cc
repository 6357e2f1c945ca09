#include "builder/outputs.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/syncer.h"
#include "builder/archive_memo.h"
#include "builder/layer_content.h"
#include "builder/rootfs_output.h"
#include "oci/archive_export.h"

namespace imgbuild::builder {

namespace {

using Kind = OutputSpec::Kind;

/// A sink over a descriptor somebody else owns.
class BorrowedFileSink final : public Sink {
 public:
  BorrowedFileSink(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  void write(std::string_view bytes) override { write_all(fd_, bytes, name_); }

 private:
  int fd_;
  std::string name_;
};

void refuse_terminal(int fd) {
  if (::isatty(fd) != 1) return;
  throw Error("an archive is not written to a terminal", ExitCode::usage)
      .with_note("redirect it: imgbuild -o - . > rootfs.tar");
}

oci::ExportRequest export_request(const OutputSpec& spec, const OutputInputs& inputs) {
  oci::ExportRequest request;
  request.form = spec.kind == Kind::oci ? oci::ExportRequest::Form::oci : oci::ExportRequest::Form::docker;
  request.images = {{inputs.image->descriptor, inputs.names}};
  request.platform = inputs.platform;
  request.created = inputs.epoch;
  return request;
}

void check_docker_can_load(const OutputSpec& spec, const oci::Image& image) {
  if (spec.kind != Kind::docker) return;
  for (const auto& layer : image.manifest.layers) {
    if (layer.media_type.ends_with("+zstd")) {
      throw Error("docker load cannot read zstd layers", ExitCode::usage)
          .with_note("use type=oci for this archive, or --compression=gzip");
    }
  }
}

void sync_folder(const std::string& path, Host& host) {
  if (host.syncer != nullptr) host.syncer->file_system(open_path(path, O_RDONLY | O_DIRECTORY).get(), path);
}

void write_archive(const OutputSpec& spec, const OutputInputs& inputs, Host& host, std::stop_token stop) {
  const auto request = export_request(spec, inputs);
  if (spec.as_directory) return oci::export_directory(request, host.blobs, spec.destination, stop);
  if (spec.destination == "-") {
    refuse_terminal(STDOUT_FILENO);
    BorrowedFileSink out(STDOUT_FILENO, "standard output");
    return oci::export_archive(request, host.blobs, out, stop);
  }
  const Digest recipe = oci::archive_recipe(request);
  const ArchiveMemo memo(host.store, host.store_epoch);
  if (host.syncer == nullptr && memo.is_current(spec.destination, recipe)) return;
  AtomicFile file(spec.destination);
  oci::export_archive_to_file(request, host.blobs, file.fd(), stop);
  file.commit(host.syncer);
  memo.remember(file.fd(), recipe);
}

void write_rootfs(const OutputSpec& spec, const OutputInputs& inputs, Host& host) {
  host.bases.fetch(inputs.snapshot->layers);
  const oci::FileTree tree = host.indexes.tree(inputs.snapshot->layers);
  const auto content = layer_content(host, inputs.snapshot->layers);
  if (spec.kind == Kind::local) {
    write_rootfs_folder(tree, content, inputs.epoch, spec.destination);
  } else if (spec.destination == "-") {
    refuse_terminal(STDOUT_FILENO);
    BorrowedFileSink out(STDOUT_FILENO, "standard output");
    write_rootfs_tar(tree, *content, inputs.epoch, out);
  } else {
    AtomicFile file(spec.destination);
    BorrowedFileSink out(file.fd(), spec.destination);
    write_rootfs_tar(tree, *content, inputs.epoch, out);
    file.commit(host.syncer);
  }
}

}  // namespace

bool needs_image(const OutputSpec& spec) {
  return spec.kind == Kind::image || spec.kind == Kind::oci || spec.kind == Kind::docker;
}

void write_output(const OutputSpec& spec, const OutputInputs& inputs, Host& host, std::stop_token stop) {
  try {
    switch (spec.kind) {
      case Kind::image:
      case Kind::cache_only:
        return;
      case Kind::oci:
      case Kind::docker:
        check_docker_can_load(spec, *inputs.image);
        write_archive(spec, inputs, host, stop);
        if (spec.as_directory) sync_folder(spec.destination, host);
        return;
      case Kind::tar:
      case Kind::local:
        write_rootfs(spec, inputs, host);
        if (spec.kind == Kind::local) sync_folder(spec.destination, host);
        return;
    }
  } catch (Error& error) {
    error.add_context(cat("writing the output ", printable(spec.destination)));
    throw;
  }
}

}  // namespace imgbuild::builder
