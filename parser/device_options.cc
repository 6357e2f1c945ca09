#include "parser/device_options.h"

#include "base/error.h"
#include "base/strings.h"
#include "parser/csv.h"
#include "parser/values.h"

namespace imgbuild::parser {

namespace {

void read_pair(const std::string& field, std::size_t equals, bool first, DeviceOptions& device) {
  const std::string key = to_lower(std::string_view(field).substr(0, equals));
  const std::string value = field.substr(equals + 1);
  if (key == "name") {
    device.name = value;
  } else if (key == "required") {
    const auto required = parse_boolean(value);
    if (!required) throw SyntaxError(cat("invalid value for required: ", printable(value)));
    device.required = *required;
  } else if (first) {
    device.name = field;  // the name itself has a `=`: vendor.com/class=device
  } else {
    SyntaxError error(cat("unexpected key '", printable(key), "' in '", printable(field), "'"));
    if (const auto close = nearest(key, {"name", "required"}))
      error.add_note(cat("did you mean ", *close, "?"));
    throw error;
  }
}

}  // namespace

DeviceOptions parse_device(std::string_view value) {
  DeviceOptions device;
  bool first = true;
  for (const auto& field : read_csv_record(value)) {
    if (const auto equals = field.find('='); equals != std::string::npos) {
      read_pair(field, equals, first, device);
    } else if (equal_ignoring_case(field, "required")) {
      device.required = true;
    } else if (first) {
      device.name = field;
    } else {
      throw SyntaxError(cat("invalid field '", printable(field), "' must be a key=value pair"));
    }
    first = false;
  }
  return device;
}

}  // namespace imgbuild::parser
