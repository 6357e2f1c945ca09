#include "builder/base_resolver.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/named_contexts.h"
#include "builder/remote_time.h"

namespace imgbuild::builder {

HostBaseResolver::HostBaseResolver(const BuildRequest& request, Host& host, std::stop_token stop)
    : request_(request), host_(host), stop_(std::move(stop)) {}

ResolvedBase HostBaseResolver::add(const std::string& key, const oci::Platform& platform, oci::Image image) {
  const auto [entry, fresh] = known_.emplace(std::pair(key, platform.str()), resolved_.size());
  if (fresh) {
    planned_.push_back({key, platform});
    resolved_.push_back(std::move(image));
  }
  return {FromImage{entry->second}, resolved_[entry->second].config, key};
}

ResolvedBase HostBaseResolver::image(const std::string& reference, const oci::Platform& platform) {
  const oci::Reference name = oci::Reference::parse(reference);
  const auto known = known_.find({name.str(), platform.str()});
  if (known != known_.end()) return {FromImage{known->second}, resolved_[known->second].config, name.str()};
  try {
    return add(name.str(), platform, host_.bases.resolve(name, platform, request_.platform_given));
  } catch (Error& error) {
    error.add_context(cat("resolving base image ", name.str()));
    throw;
  }
}

std::optional<ResolvedBase> HostBaseResolver::named_context(const std::string& name,
                                                            const oci::Platform& platform) {
  const NamedContext* context = find_named_context(request_.named_contexts, name, platform);
  if (context == nullptr) return std::nullopt;
  auto opened = open_named_image(*context, platform, host_);
  if (!opened) {
    ResolvedBase base{FromContext{context->name}, {}, cat("context ", context->name)};
    base.config.platform = platform;
    base.config.config.working_dir = "/";
    return base;
  }
  if (opened->scratch) {
    ResolvedBase base{FromScratch{}, {}, "scratch"};
    base.config.platform = platform;
    base.config.config.working_dir = "/";
    return base;
  }
  return add(cat("context ", context->name), platform, std::move(*opened->image));
}

std::optional<std::int64_t> HostBaseResolver::context_time(const std::string& name) {
  const NamedContext* context = find_named_context(request_.named_contexts, name, request_.platform);
  return context == nullptr ? std::nullopt : named_context_time(*context, request_, host_, stop_);
}

std::optional<std::int64_t> HostBaseResolver::remote_time(const RemoteAdd& add) {
  return remote_add_time(add, request_, host_, stop_);
}

}  // namespace imgbuild::builder
