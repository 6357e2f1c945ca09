#include "builder/check_resolver.h"

#include <algorithm>

#include "base/error.h"
#include "oci/reference.h"
#include "oci/registry.h"

namespace imgbuild::builder {

ResolvedBase CheckResolver::image(const std::string& reference, const oci::Platform& platform) {
  const std::string registry = oci::Reference::parse(reference).registry();
  if (unreachable_.contains(registry)) return unknown(reference, platform);
  try {
    return real_.image(reference, platform);
  } catch (const oci::RegistryStatusError&) {
    throw;  // it answered
  } catch (const RegistryError&) {
    const std::string host = registry.substr(0, registry.find(':'));
    if (host.ends_with(".invalid")) throw;
    unreachable_.insert(registry);
    return unknown(reference, platform);
  }
}

ResolvedBase CheckResolver::unknown(const std::string& reference, const oci::Platform& platform) {
  if (known_missing_.insert(reference).second) missing_.push_back(reference);
  ResolvedBase base{FromScratch{}, {}, reference};
  base.config.platform = platform;
  return base;
}

}  // namespace imgbuild::builder
