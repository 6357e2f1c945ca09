#include "oci/tar_path.h"

#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "oci/tar_format.h"

namespace imgbuild::oci::tar {

namespace {

constexpr std::size_t kMaxPath = 4096;
constexpr std::size_t kMaxComponent = 255;
constexpr std::string_view kAufsPrefix = ".wh..wh.";

[[noreturn]] void refuse(std::string_view name, std::string_view why) {
  throw IntegrityError(cat("the layer has an entry named \"", printable(name.substr(0, 200)), "\": ", why));
}

void append(std::string& path, std::string_view component) {
  if (!path.empty()) path += '/';
  path += component;
}

}  // namespace

MarkedPath parse_member_path(std::string_view name) {
  if (name.empty()) refuse(name, "the name is empty");
  if (name.size() > kMaxPath) refuse(name, "the path is longer than 4096 bytes");
  if (name.find('\0') != std::string_view::npos) refuse(name, "the name has a NUL byte");
  MarkedPath result;
  for (std::string_view component : split(name, '/')) {
    if (component.empty() || component == ".") continue;
    if (component == "..") refuse(name, "\"..\" could lead out of the image");
    if (result.mark == MarkedPath::Mark::whiteout || result.mark == MarkedPath::Mark::opaque) {
      refuse(name, "something lies below a whiteout");
    }
    if (result.mark == MarkedPath::Mark::ignored) continue;
    if (component == kOpaqueName) {
      result.mark = MarkedPath::Mark::opaque;
      continue;
    }
    if (component.starts_with(kAufsPrefix)) {
      result.mark = MarkedPath::Mark::ignored;
      continue;
    }
    if (component.starts_with(kWhiteoutPrefix)) {
      result.mark = MarkedPath::Mark::whiteout;
      component.remove_prefix(kWhiteoutPrefix.size());
      if (component.empty() || component == "." || component == "..")
        refuse(name, "the whiteout names nothing");
    }
    if (component.size() > kMaxComponent) refuse(name, "a component is longer than 255 bytes");
    append(result.path, component);
  }
  return result;
}

}  // namespace imgbuild::oci::tar
