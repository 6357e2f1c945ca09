#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::builder {

/// A device node of the host that a CDI device puts into a container.
struct CdiNode {
  std::string path;       ///< inside, absolute
  std::string host_path;  ///< outside; the same when the file names none
  std::string type;       ///< "c", "b", "u", "p" or empty: whatever is there
  std::optional<std::int64_t> major, minor, mode, uid, gid;
  std::string permissions;  ///< of "r", "w", "m"; empty: all
};

struct CdiMount {
  std::string host_path;
  std::string container_path;
  std::string type;
  std::vector<std::string> options;
};

/// What a device changes in a container (`containerEdits`).
struct CdiEdits {
  std::vector<std::string> env;  ///< "k=v"
  std::vector<CdiNode> nodes;
  std::vector<CdiMount> mounts;
  std::vector<std::uint32_t> additional_gids;
  /// What it also asks for and no RUN gets: "hooks", "intelRdt", "netDevices" and keys nobody knows.
  std::vector<std::string> refused;

  void append(const CdiEdits& more);
};

struct CdiDevice {
  std::string name;                                ///< without the kind
  std::map<std::string, std::string> annotations;  ///< the file's, then its own
  CdiEdits edits;                                  ///< the file's, then its own
};

/// One file of the Container Device Interface.
struct CdiSpec {
  std::string kind;  ///< "vendor.com/class"
  std::vector<CdiDevice> devices;
};

/// Reads a CDI file in JSON (CDI specification 0.3.0 to 1.x). Throws IntegrityError that says what is wrong
/// in it.
CdiSpec parse_cdi_spec(std::string_view json);

}  // namespace imgbuild::builder
