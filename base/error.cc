#include "base/error.h"

#include <cstring>

#include "base/strings.h"

namespace imgbuild {

namespace {

std::string describe(int error_number, std::string_view operation, std::string_view subject) {
  char buffer[128];
  const char* reason = strerror_r(error_number, buffer, sizeof buffer);
  return subject.empty() ? cat(operation, ": ", reason)
                         : cat(operation, " ", printable(subject), ": ", reason);
}

}  // namespace

SystemError::SystemError(int error_number, std::string_view operation, std::string_view subject)
    : Error(describe(error_number, operation, subject), ExitCode::system), errno_(error_number) {}

}  // namespace imgbuild
