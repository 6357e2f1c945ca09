#include "parser/paths.h"

#include <vector>

#include "base/strings.h"

namespace imgbuild::parser {

std::string clean_path(std::string_view path) {
  const bool absolute = path.starts_with('/');
  std::vector<std::string_view> kept;
  for (const std::string_view part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      kept.push_back(part);
    } else if (!kept.empty() && kept.back() != "..") {
      kept.pop_back();
    } else if (!absolute) {
      kept.push_back(part);
    }
  }
  std::string out = absolute ? "/" : "";
  for (const std::string_view part : kept) {
    if (out.size() > 1 || (!absolute && !out.empty())) out += '/';
    out += part;
  }
  return out.empty() ? "." : out;
}

}  // namespace imgbuild::parser
