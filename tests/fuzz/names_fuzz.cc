// Input: a byte that chooses the reader, then a name, address or header from outside.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/strings.h"
#include "builder/http_source.h"
#include "builder/private_network.h"
#include "builder/resolv_conf.h"
#include "oci/http.h"
#include "oci/net_address.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "oci/registry_auth.h"
#include "parser/git_reference.h"

using namespace imgbuild;

namespace {

bool has_control(const std::string& text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return true;
  return false;
}

void read(unsigned choice, const std::string& text) {
  switch (choice % 8) {
    case 0: {
      const auto name = oci::Reference::parse(text);
      if (has_control(name.str()) || !(oci::Reference::parse(name.str()) == name)) std::abort();
      return;
    }
    case 1: {
      const auto url = oci::HttpUrl::parse(text);
      if (has_control(url.str()) || has_control(url.safe()) || url.host().empty()) std::abort();
      if (oci::HttpUrl::parse(url.str()).str() != url.str()) std::abort();
      (void)url.resolve("../x?y");
      return;
    }
    case 2:
      (void)oci::parse_challenges({text, text.substr(text.size() / 2)});
      return;
    case 3:
      (void)parser::parse_git_reference(text);
      return;
    case 4: {
      const std::string name = builder::file_name_of_url(text);
      if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
          has_control(name))
        std::abort();
      return;
    }
    case 5:
      (void)oci::Platform::parse(text);
      (void)oci::address_scope(text);
      (void)oci::parse_http_date(text);
      return;
    case 6:
      (void)builder::parse_default_gateway(text);
      return;
    default:
      (void)builder::make_resolv_conf({.builder = text, .upstream = text, .own_network = true},
                                      {.options = {"x"}});
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
