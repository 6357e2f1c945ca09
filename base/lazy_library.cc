#include "base/lazy_library.h"

#include <dlfcn.h>

#include <cstdlib>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild {

void* LazyLibrary::handle() const noexcept { return ::dlopen(name_, RTLD_NOW | RTLD_LOCAL); }

void LazyLibrary::require() const {
  if (handle() != nullptr) return;
  const char* reason = ::dlerror();
  throw UnsupportedError(
      cat("the library ", name_, " cannot be loaded: ", reason == nullptr ? "no reason given" : reason));
}

void* LazyLibrary::function(const char* symbol) const noexcept {
  void* library = handle();
  void* address = library == nullptr ? nullptr : ::dlsym(library, symbol);
  if (address == nullptr) std::abort();
  return address;
}

}  // namespace imgbuild
