#include "builder/build.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/base_resolver.h"
#include "builder/build_context.h"
#include "builder/build_inputs.h"
#include "builder/evaluate.h"
#include "builder/executor.h"
#include "builder/image_assembler.h"
#include "parser/parser.h"

namespace imgbuild::builder {

namespace {

using Clock = std::chrono::steady_clock;

/// Names and times the parts of a build for `--stats`.
class Phases {
 public:
  explicit Phases(BuildStats& stats) : stats_(stats) {}
  void end(const char* name) {
    const auto now = Clock::now();
    stats_.phases.emplace_back(name, now - begin_);
    begin_ = now;
  }

 private:
  BuildStats& stats_;
  Clock::time_point begin_ = Clock::now();
};

/// The names of `tags` and of every output, each once, in order.
std::vector<oci::Reference> all_names(const BuildRequest& request) {
  std::vector<oci::Reference> names = request.tags;
  for (const auto& output : request.outputs) {
    for (const auto& name : output.names) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

bool wants_image(const BuildRequest& request) {
  return request.outputs.empty() || !request.tags.empty() ||
         std::any_of(request.outputs.begin(), request.outputs.end(), needs_image);
}

void count_context(SourceTree* context, BuildStats& stats) {
  const auto* local = dynamic_cast<const BuildContext*>(context);
  if (local == nullptr) return;
  const ContextStats counted = local->stats();
  stats.context_files_listed = counted.entries_listed;
  stats.context_dirs_opened = counted.directories_opened;
  stats.context_bytes_read = counted.bytes_read;
  stats.context_digests_remembered = counted.digests_remembered;
}

}  // namespace

BuildResult build(const BuildRequest& request, Host& host, EventSink& events, std::stop_token stop) {
  BuildResult result;
  Phases phases(result.stats);
  const BuildInputs inputs = load_inputs(request, host, stop);
  const parser::Dockerfile dockerfile = parser::parse_dockerfile(inputs.dockerfile_text);
  phases.end("read Dockerfile");

  HostBaseResolver bases(request, host);
  const Plan plan = evaluate(dockerfile, evaluate_options(request, inputs), bases,
                             [&events](const Warned& warning) { events.on_event(warning); });
  phases.end("plan");

  const ExecuteInputs work{request, plan, bases.resolved(), inputs.context};
  ExecuteResult done = execute(work, host, events, stop);
  result.stats.steps_run = done.steps_run;
  result.stats.steps_cached = done.steps_cached;
  result.stats.layer_bytes_written = done.layer_bytes;
  result.stats.commands = done.commands;
  if (plan.source_date_epoch) {
    done.target.snapshot =
        clamp_layers(done.target.snapshot, *plan.source_date_epoch, request.compression, host);
  }
  phases.end("steps");

  OutputInputs output{
      .snapshot = &done.target.snapshot, .names = all_names(request), .platform = request.platform};
  if (plan.source_date_epoch) output.epoch = Timestamp{*plan.source_date_epoch, 0};
  std::optional<oci::Image> image;
  if (wants_image(request)) {
    host.bases.fetch(done.target.snapshot.layers);
    image = assemble_image(plan, done.target, host.blobs);
    output.image = &*image;
    result.image = image->descriptor;
    result.config_digest = image->manifest.config.digest;
    for (const auto& name : output.names) host.images.tag(name, image->descriptor, host.clock());
    result.tags = output.names;
  }
  phases.end("image");
  for (const auto& spec : request.outputs) write_output(spec, output, host, stop);
  phases.end("outputs");
  host.memo.save();
  count_context(inputs.context.get(), result.stats);
  return result;
}

}  // namespace imgbuild::builder
