#pragma once

#include <stop_token>

#include "builder/build_inputs.h"

namespace imgbuild::builder {

/// Fills `inputs` for a context that is no local directory: standard input (a tar or a bare Dockerfile), a
/// git reference, an HTTP(S) URL (CTX-4, CTX-5). No ignore file is applied to them.
void load_remote_inputs(BuildInputs& inputs, const BuildRequest& request, Host& host, std::stop_token stop);

/// The files of a named context that is no local directory: a git reference, an HTTP(S) URL, a tar on disk
/// (CTX-13).
std::shared_ptr<SourceTree> open_remote_tree(const std::string& value, const BuildRequest& request,
                                             Host& host, std::stop_token stop);

}  // namespace imgbuild::builder
