#include "builder/copy_engine.h"
#include "builder/layer_content.h"
#include "builder/steps/step.h"

namespace imgbuild::builder {

StepOutcome run_workdir(const StepContext& context, const WorkdirOp& op, std::stop_token stop) {
  cache::CacheKeyBuilder builder("workdir-v1");
  builder.add("parent", context.before.key().str()).add("path", op.path).add("user", op.user);
  if (context.epoch) builder.add("epoch", std::to_string(*context.epoch));  // CAC-33
  const cache::CacheKey key = builder.finish();
  const MissHints hints;
  return hit_or_make({context, key, &hints}, stop, [&] {
    const oci::FileTree target = context.host.indexes.tree(context.before.snapshot().layers);
    const auto content = layer_content(context.host, context.before.snapshot().layers);
    const auto entries = plan_workdir(op.path, op.user, target, *content, step_time(context));
    return store_layer(context, key, entries, false);
  });
}

}  // namespace imgbuild::builder
