#pragma once

#include <string>
#include <string_view>

namespace imgbuild::parser {

/// One `RUN --device` (RUN-23).
struct DeviceOptions {
  std::string name;
  bool required = false;
};

/// `NAME[,required]` or `name=NAME,required=bool`. Throws SyntaxError (no range).
DeviceOptions parse_device(std::string_view value);

}  // namespace imgbuild::parser
