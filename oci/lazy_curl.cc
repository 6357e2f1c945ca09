#include "oci/lazy_curl.h"

#include <curl/curl.h>

#include <cstdarg>

#include "base/lazy_library.h"

// Macros of the same names only check types.
#undef curl_easy_setopt
#undef curl_easy_getinfo

namespace {

constexpr imgbuild::LazyLibrary kCurl("libcurl.so.4");

}  // namespace

#define LAZY(result, name, parameters, arguments) \
  IMGBUILD_LAZY_FUNCTION(kCurl, result, name, parameters, arguments)

LAZY(CURLcode, curl_global_init, (long flags), (flags))
LAZY(CURL*, curl_easy_init, (), ())
LAZY(void, curl_easy_cleanup, (CURL * easy), (easy))
LAZY(void, curl_easy_reset, (CURL * easy), (easy))
LAZY(const char*, curl_easy_strerror, (CURLcode code), (code))
LAZY(void, curl_free, (void* memory), (memory))
LAZY(time_t, curl_getdate, (const char* text, const time_t* unused), (text, unused))
LAZY(CURLM*, curl_multi_init, (), ())
LAZY(CURLMcode, curl_multi_cleanup, (CURLM * multi), (multi))
LAZY(CURLMcode, curl_multi_add_handle, (CURLM * multi, CURL* easy), (multi, easy))
LAZY(CURLMcode, curl_multi_remove_handle, (CURLM * multi, CURL* easy), (multi, easy))
LAZY(CURLMcode, curl_multi_perform, (CURLM * multi, int* running), (multi, running))
LAZY(CURLMcode, curl_multi_poll, (CURLM * multi, curl_waitfd* extra, unsigned count, int timeout, int* ready),
     (multi, extra, count, timeout, ready))
LAZY(CURLMcode, curl_multi_wakeup, (CURLM * multi), (multi))
LAZY(CURLMsg*, curl_multi_info_read, (CURLM * multi, int* left), (multi, left))
LAZY(curl_slist*, curl_slist_append, (curl_slist * list, const char* text), (list, text))
LAZY(void, curl_slist_free_all, (curl_slist * list), (list))
LAZY(CURLU*, curl_url, (), ())
LAZY(void, curl_url_cleanup, (CURLU * url), (url))
LAZY(CURLUcode, curl_url_get, (CURLU * url, CURLUPart part, char** text, unsigned flags),
     (url, part, text, flags))
LAZY(CURLUcode, curl_url_set, (CURLU * url, CURLUPart part, const char* text, unsigned flags),
     (url, part, text, flags))

#undef LAZY

// Every option and every piece of information is one word wide on the processors we build for.
extern "C" CURLcode curl_easy_setopt(CURL* easy, CURLoption option, ...) {
  static const auto real = reinterpret_cast<decltype(&curl_easy_setopt)>(kCurl.function("curl_easy_setopt"));
  std::va_list arguments;
  va_start(arguments, option);
  void* value = va_arg(arguments, void*);
  va_end(arguments);
  return real(easy, option, value);
}

extern "C" CURLcode curl_easy_getinfo(CURL* easy, CURLINFO info, ...) {
  static const auto real =
      reinterpret_cast<decltype(&curl_easy_getinfo)>(kCurl.function("curl_easy_getinfo"));
  std::va_list arguments;
  va_start(arguments, info);
  void* value = va_arg(arguments, void*);
  va_end(arguments);
  return real(easy, info, value);
}

namespace imgbuild::oci {

void require_curl() { kCurl.require(); }

}  // namespace imgbuild::oci
