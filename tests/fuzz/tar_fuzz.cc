// Input: a byte that chooses the compression, then a layer. One that is accepted must have an index that
// survives being stored and that can be put on a tree.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/compress.h"
#include "base/error.h"
#include "oci/file_tree.h"
#include "oci/layer_index.h"
#include "oci/layer_reader.h"
#include "oci/tar_format.h"

using namespace imgbuild;

namespace {

constexpr std::uint64_t kMaxOutput = 4 << 20;

void read_content(const oci::LayerEntry&, oci::Placement, oci::TarReader& reader,
                  const oci::TarMember& member) {
  // Holes cost nothing but time, and there can be a lot of them.
  if (member.entry.attributes.size > 2 * kMaxOutput) return;
  std::vector<char> buffer(4096);
  while (reader.read(buffer) > 0) {
  }
}

std::optional<oci::LayerNames> read(CompressionKind kind, std::string bytes) try {
  const auto plain =
      make_decompressor(kind, std::make_unique<StringSource>(std::move(bytes)), {.max_output = kMaxOutput});
  return oci::read_layer(*plain, read_content, {.entries = 10'000});
} catch (const Error&) {
  return std::nullopt;
}

/// Gives every block that looks like a header its right checksum: otherwise hardly a change gets past it.
void repair_checksums(std::string& bytes) {
  oci::tar::Block block;
  for (std::size_t at = 0; at + block.size() <= bytes.size(); at += block.size()) {
    std::memcpy(block.data(), bytes.data() + at, block.size());
    if (!oci::tar::get(block, oci::tar::kMagic).starts_with("ustar")) continue;
    oci::tar::seal(block);
    std::memcpy(bytes.data() + at, block.data(), block.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto kind = static_cast<CompressionKind>(data[0] % 3);
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (kind == CompressionKind::none) repair_checksums(bytes);
  auto names = read(kind, std::move(bytes));
  if (!names) return 0;
  (void)names->directories();
  const oci::LayerIndex index = names->take_index();
  if (oci::LayerIndex::parse(index.serialize()).entries != index.entries) std::abort();
  (void)oci::FileTree().apply(index, oci::DiffId{sha256("layer")});
  return 0;
}
