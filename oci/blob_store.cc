#include "oci/blob_store.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"

namespace imgbuild::oci {

Digest put_blob(BlobStore& store, std::string_view bytes) {
  const Digest digest = sha256(bytes);
  if (store.find_blob(digest)) return digest;
  auto writer = store.create();
  writer->write(bytes);
  writer->commit(digest);
  return digest;
}

std::string load_blob(const BlobStore& store, const Digest& digest, std::uint64_t limit) {
  const auto source = store.open_blob(digest);
  return read_all(*source, limit, cat("blob ", digest.str()));
}

}  // namespace imgbuild::oci
