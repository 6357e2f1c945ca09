#pragma once

#include <string>

#include "builder/plan.h"

namespace imgbuild::builder {

/// A plan as text for people, for `imgbuild debug plan`: stages, steps, what each works with. No format to
/// parse.
std::string dump_plan(const Plan& plan);

}  // namespace imgbuild::builder
