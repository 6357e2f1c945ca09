#include "base/secret_bytes.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>

namespace imgbuild {

SecretBytes::SecretBytes(std::string_view bytes) : size_(bytes.size()) {
  if (bytes.empty()) return;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  mapped_ = (size_ + page - 1) / page * page;
  void* pages = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  pages_ = static_cast<char*>(pages);
  (void)::madvise(pages, mapped_, MADV_DONTDUMP);
  (void)::mlock(pages, mapped_);  // as far as RLIMIT_MEMLOCK goes
  std::memcpy(pages_, bytes.data(), bytes.size());
}

SecretBytes SecretBytes::take(std::string& text) {
  SecretBytes out(text);
  wipe(text);
  return out;
}

SecretBytes::~SecretBytes() {
  if (pages_ == nullptr) return;
  ::explicit_bzero(pages_, mapped_);
  ::munmap(pages_, mapped_);
}

void wipe(std::string& text) noexcept {
  text.resize(text.capacity());  // never allocates
  ::explicit_bzero(text.data(), text.size());
  text.clear();
}

}  // namespace imgbuild
