// Input: a byte that chooses the reader, then bytes of a compressed stream, a PAX header, account files of an
// image, an ssh key, a message to our ssh agent, or output with secrets in it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/compress.h"
#include "base/error.h"
#include "builder/account_files.h"
#include "builder/secret_scan.h"
#include "builder/ssh_keys.h"
#include "oci/tar_pax.h"

using namespace imgbuild;

namespace {

void decompress(CompressionKind kind, std::string bytes) {
  const auto plain =
      make_decompressor(kind, std::make_unique<StringSource>(std::move(bytes)), {.max_output = 1 << 20});
  std::vector<char> buffer(1000);
  while (plain->read(buffer) > 0) {
  }
}

/// Whatever the chunks are, a secret never comes through a mask and always through a scanner.
void watch_secrets(const std::string& text) {
  const std::string secret = "s3cr3t-value";
  const builder::MaskPatterns masks({{"a", secret}});
  const builder::SecretPatterns leaks({{"a", secret}});
  const std::size_t step = 1 + text.size() % 13;
  builder::SecretMask mask(masks);
  builder::SecretScanner scanner(leaks);
  std::string shown;
  bool found = false;
  for (std::size_t at = 0; at < text.size(); at += step) {
    shown += mask.filter(std::string_view(text).substr(at, step));
    found = scanner.scan(std::string_view(text).substr(at, step)) != nullptr || found;
  }
  shown += mask.finish();
  const bool there = text.find(secret) != std::string::npos;
  if (there && !found) std::abort();
  if (!there && !found && shown != text) std::abort();
}

void read(unsigned choice, const std::string& text) {
  switch (choice % 8) {
    case 0:
      return decompress(CompressionKind::gzip, text);
    case 1:
      return decompress(CompressionKind::zstd, text);
    case 2:
      (void)oci::tar::parse_pax(text);
      return;
    case 3:
      return oci::tar::check_global_pax(text);
    case 4:
      (void)builder::parse_passwd(text);
      (void)builder::parse_group(text);
      return;
    case 5:
      (void)builder::parse_ssh_key(text, "key");
      return;
    case 6: {
      const std::string answer = builder::SshKeys({}).answer(text);
      if (answer.empty()) std::abort();
      return;
    }
    default:
      return watch_secrets(text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    read(data[0], std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  } catch (const Error&) {
  }
  return 0;
}
