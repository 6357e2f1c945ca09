#include "builder/cdi_devices.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxSpecBytes = 4u << 20;
constexpr const char* kClassAnnotation = "org.mobyproject.buildkit.device.class";

std::vector<std::string> file_names(const std::string& directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), ::closedir);
  if (!open) return names;
  while (const dirent* entry = ::readdir(open.get())) names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

CdiDevices CdiDevices::read(const std::vector<std::string>& directories) {
  CdiDevices devices;
  for (const auto& directory : directories) devices.read_directory(directory);
  return devices;
}

void CdiDevices::read_directory(const std::string& directory) {
  std::map<std::string, CdiDevice> found;
  std::vector<std::string> twice;
  for (const auto& name : file_names(directory)) {
    const std::string path = cat(directory, "/", name);
    if (name.ends_with(".yaml") || name.ends_with(".yml")) {
      problems_.push_back(
          cat(printable(path), " is YAML, and only JSON is read; write it as JSON beside it"));
    } else if (name.ends_with(".json")) {
      read_spec(path, found, twice);
    }
  }
  for (const auto& name : twice) {
    problems_.push_back(cat("two files in ", printable(directory), " define ", printable(name)));
    found.erase(name);
  }
  for (auto& [name, device] : found) devices_[name] = std::move(device);
}

void CdiDevices::read_spec(const std::string& path, std::map<std::string, CdiDevice>& found,
                           std::vector<std::string>& twice) {
  try {
    const UniqueFd file = open_path(path, O_RDONLY | O_NONBLOCK);
    const CdiSpec spec = parse_cdi_spec(read_file(file.get(), kMaxSpecBytes, path));
    for (const auto& device : spec.devices) {
      const std::string name = cat(spec.kind, "=", device.name);
      if (!found.emplace(name, device).second) twice.push_back(name);
    }
  } catch (const Error& error) {
    problems_.push_back(cat(printable(path), " cannot be used: ", error.message()));
  }
}

std::vector<const CdiDevice*> CdiDevices::find(const std::string& name) const {
  std::vector<const CdiDevice*> out;
  const std::string kind = name.substr(0, name.find('='));
  const std::string device = name.size() > kind.size() ? name.substr(kind.size() + 1) : "";
  if (kind.find('/') != std::string::npos) {
    for (auto at = devices_.lower_bound(cat(kind, "="));
         at != devices_.end() && at->first.starts_with(cat(kind, "=")); ++at) {
      if (device == "*" || device.empty() || at->first == name) out.push_back(&at->second);
      if (device.empty()) break;
    }
  }
  if (!out.empty()) return out;
  for (const auto& [full, candidate] : devices_) {
    const auto annotation = candidate.annotations.find(kClassAnnotation);
    if (annotation != candidate.annotations.end() && annotation->second == name) out.push_back(&candidate);
  }
  return out;
}

CdiEdits edits_for(const CdiDevices& devices, const std::vector<std::string>& wanted,
                   std::vector<std::string>& skipped) {
  CdiEdits edits;
  std::set<const CdiDevice*> taken;
  for (const auto& text : wanted) {
    const parser::DeviceOptions options = parser::parse_device(text);
    const auto found = devices.find(options.name);
    if (found.empty() && options.required) {
      UnsupportedError error(cat("required device \"", printable(options.name), "\" is not registered"));
      for (const auto& problem : devices.problems()) error.add_note(problem);
      error.add_note("devices are described by CDI files in /etc/cdi and /var/run/cdi, or in --cdi-spec-dir");
      throw error;
    }
    if (found.empty()) skipped.push_back(options.name);
    for (const CdiDevice* device : found) {
      if (!taken.insert(device).second) continue;
      if (!device->edits.refused.empty()) {
        UnsupportedError error(cat("the device \"", printable(options.name), "\" asks for ",
                                   printable(join(device->edits.refused, ", ")), ", which no RUN gets"));
        error.add_note(
            "variables, device nodes, read-only mounts and groups are handed out; hooks would run outside of "
            "the sandbox");
        throw error;
      }
      edits.append(device->edits);
    }
  }
  return edits;
}

}  // namespace imgbuild::builder
