#pragma once

namespace imgbuild {

/// A shared library that is loaded when its first function is called. For libraries that few builds need and
/// that would cost every start several milliseconds (docs/adr/0006). Thread-safe.
class LazyLibrary {
 public:
  /// `name` as the dynamic loader knows it ("libcurl.so.4").
  explicit constexpr LazyLibrary(const char* name) noexcept : name_(name) {}

  /// Loads the library. Throws UnsupportedError with the loader's reason when it cannot be had. Call it
  /// before the first use; afterwards no function can fail for that reason.
  void require() const;
  /// The address of a function. The library was required; ends the process if it lacks the function, since a
  /// library of this name and version has it.
  void* function(const char* symbol) const noexcept;

 private:
  void* handle() const noexcept;
  const char* name_;
};

}  // namespace imgbuild

/// Defines the C function `name` as a call of the one in `library`.
#define IMGBUILD_LAZY_FUNCTION(library, result, name, parameters, arguments)               \
  extern "C" result name parameters {                                                      \
    static const auto real = reinterpret_cast<decltype(&name)>((library).function(#name)); \
    return real arguments;                                                                 \
  }
