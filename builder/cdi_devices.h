#pragma once

#include <map>
#include <string>
#include <vector>

#include "builder/cdi_spec.h"
#include "parser/device_options.h"

namespace imgbuild::builder {

/// The CDI devices of this machine: those of the JSON files in some directories.
class CdiDevices {
 public:
  /// Reads the directories; those that do not exist are empty. Of two devices with one name that of the later
  /// directory counts, and within one directory neither does. Files that cannot be used are problems, not
  /// errors.
  static CdiDevices read(const std::vector<std::string>& directories);

  /// The devices `name` stands for: `vendor/class=device`, all with `=*`, the first of `vendor/class`, else
  /// those whose annotation `org.mobyproject.buildkit.device.class` it is. Empty when there is none.
  std::vector<const CdiDevice*> find(const std::string& name) const;
  /// Why devices may be missing: a file in YAML, a file with a mistake, a name given twice.
  const std::vector<std::string>& problems() const noexcept { return problems_; }

 private:
  void read_directory(const std::string& directory);
  void read_spec(const std::string& path, std::map<std::string, CdiDevice>& found,
                 std::vector<std::string>& twice);

  std::map<std::string, CdiDevice> devices_;  ///< by qualified name
  std::vector<std::string> problems_;
};

/// What `wanted` (each as parse_device takes it) changes in a RUN, found in `devices`. Unknown devices that
/// are not required change nothing and are named in `skipped`. Throws UnsupportedError for a required device
/// that is not there and for one that wants what no RUN gets.
CdiEdits edits_for(const CdiDevices& devices, const std::vector<std::string>& wanted,
                   std::vector<std::string>& skipped);

}  // namespace imgbuild::builder
