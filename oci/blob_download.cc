#include "oci/blob_download.h"

#include <algorithm>

#include "base/strings.h"

namespace imgbuild::oci {

BlobDownload::BlobDownload(std::string what, const Descriptor& blob, BlobStore& store,
                           std::function<void(std::uint64_t)> progress)
    : what_(std::move(what)),
      blob_(blob),
      store_(store),
      progress_(std::move(progress)),
      writer_(store.create()) {}

void BlobDownload::restart() {
  writer_ = store_.create();
  hash_ = Sha256();
  received_ = 0;
  skip_ = 0;
}

std::optional<std::uint64_t> BlobDownload::begin_attempt() {
  started_ = true;
  skip_ = 0;
  if (received_ > 0 && !may_resume_) restart();
  return received_ == 0 ? std::nullopt : std::optional(received_);
}

Sink* BlobDownload::accept(const HttpResponse& response) {
  if (response.status == 206) {
    accept_range(response);
    return this;
  }
  if (response.status != 200) return nullptr;
  // The whole blob again: what we have is passed over, and the digest tells whether it was the same.
  skip_ = received_;
  const bool encoded = response.headers.find("Content-Encoding").has_value();
  if (encoded) may_resume_ = false;
  const auto length = response.content_length();
  if (!encoded && length && *length != blob_.size) {
    throw IntegrityError(cat(what_, " has ", *length, " bytes instead of ", blob_.size));
  }
  return this;
}

/// `bytes FIRST-LAST/SIZE` must continue exactly where we are (REG-47).
void BlobDownload::accept_range(const HttpResponse& response) {
  const std::string text = response.headers.find("Content-Range").value_or("");
  const std::string whole = cat("bytes ", received_, "-", blob_.size - 1, "/", blob_.size);
  const std::string open = cat("bytes ", received_, "-", blob_.size - 1, "/*");
  const bool encoded = response.headers.find("Content-Encoding").has_value();
  if (received_ > 0 && !encoded && (text == whole || text == open)) return;
  may_resume_ = false;
  throw TransferError(
      cat(what_, ": the registry sent another range than it was asked for (", printable(text), ")"));
}

void BlobDownload::write(std::string_view bytes) {
  const std::size_t skipped = static_cast<std::size_t>(std::min<std::uint64_t>(skip_, bytes.size()));
  skip_ -= skipped;
  bytes.remove_prefix(skipped);
  if (bytes.size() > blob_.size - received_) {
    throw IntegrityError(cat(what_, " is longer than the ", blob_.size, " bytes it should have"));
  }
  hash_.update(bytes);
  writer_->write(bytes);
  received_ += bytes.size();
  if (progress_) progress_(received_);
}

void BlobDownload::end_attempt() const {
  if (received_ == blob_.size) return;
  throw TransferError(cat(what_, ": the transfer ended after ", received_, " of ", blob_.size, " bytes"));
}

void BlobDownload::commit() {
  const Digest digest = hash_.finish();
  if (digest != blob_.digest) {
    throw IntegrityError(cat(what_, ": the registry sent other content, with digest ", digest.str()));
  }
  writer_->commit(blob_.digest);
}

}  // namespace imgbuild::oci
