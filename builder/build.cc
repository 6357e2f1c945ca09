#include "builder/build.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "base/syncer.h"
#include "builder/base_resolver.h"
#include "builder/build_context.h"
#include "builder/build_inputs.h"
#include "builder/evaluate.h"
#include "builder/executor.h"
#include "builder/image_assembler.h"
#include "builder/store/full_store.h"
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

/// Warns of the blobs that turned out damaged since there were `known` of them.
void warn_of_damage(const oci::BlobStore& blobs, std::size_t known, EventSink& events) {
  const auto all = blobs.set_aside();
  for (std::size_t i = known; i < all.size(); ++i) {
    events.on_event(Warned{
        {},
        cat("blob ", all[i].str(), " of the store was damaged; it is set aside and made or fetched anew"),
        {},
        {}});
  }
}

BuildResult build_once(const BuildRequest& request, Host& host, EventSink& events, std::stop_token stop) {
  BuildResult result;
  Phases phases(result.stats);
  const BuildInputs inputs = load_inputs(request, host, stop);
  const parser::Dockerfile dockerfile = parser::parse_dockerfile(inputs.dockerfile_text);
  phases.end("read Dockerfile");

  HostBaseResolver bases(request, host, stop);
  const Plan plan = evaluate(dockerfile, evaluate_options(request, inputs), bases,
                             [&events](const Warned& warning) { events.on_event(warning); });
  phases.end("plan");

  const ExecuteInputs work{request, plan, bases.resolved(), inputs.context};
  ExecuteResult done = execute(work, host, events, stop);
  result.stats.steps_run = done.steps_run;
  result.stats.steps_cached = done.steps_cached;
  result.stats.layer_bytes_written = done.layer_bytes;
  result.stats.commands = done.commands;
  result.stats.layer_bytes_reused = done.layer_bytes_reused;
  if (plan.source_date_epoch) {
    done.target.snapshot =
        clamp_layers(done.target.snapshot, *plan.source_date_epoch, request.compression, host, stop);
  }
  phases.end("steps");
  for (auto& part : done.parts) result.stats.phases.push_back(std::move(part));

  OutputInputs output{
      .snapshot = &done.target.snapshot, .names = all_names(request), .platform = request.platform};
  if (plan.source_date_epoch) output.epoch = Timestamp{*plan.source_date_epoch, 0};
  std::optional<oci::Image> image;
  if (wants_image(request)) {
    host.bases.fetch(done.target.snapshot.layers);
    image = assemble_image(plan, done.target, request.secrets, host.blobs);
    output.image = &*image;
    result.image = image->descriptor;
    result.config_digest = image->manifest.config.digest;
    if (!output.names.empty()) host.blobs.sync_published();
    for (const auto& name : output.names) host.images.tag(name, image->descriptor, host.clock());
    result.tags = output.names;
  }
  phases.end("image");
  for (const auto& spec : request.outputs) write_output(spec, output, host, stop);
  phases.end("outputs");
  host.memo.save();
  count_context(inputs.context.get(), result.stats);
  if (host.syncer != nullptr) {
    const auto totals = host.syncer->totals();
    result.stats.syncs = totals.calls;
    result.stats.sync_time = totals.took;
  }
  return result;
}

constexpr int kRepairs = 8;  ///< a store with more damage than that wants an fsck

}  // namespace

BuildResult build(const BuildRequest& request, Host& host, EventSink& events, std::stop_token stop) {
  for (int repairs = 0;; ++repairs) {
    const std::size_t known = host.blobs.set_aside().size();
    try {
      BuildResult result = build_once(request, host, events, stop);
      warn_of_damage(host.blobs, known, events);
      return result;
    } catch (const SystemError& error) {
      if (auto full = full_store(error, host.store.fd())) throw *full;
      throw;
    } catch (const Error& error) {
      // A damaged blob counts as missing from now on, so the steps that made it run again (STO-9).
      warn_of_damage(host.blobs, known, events);
      if (error.code() != ExitCode::integrity || host.blobs.set_aside().size() == known ||
          repairs == kRepairs)
        throw;
    }
  }
}

}  // namespace imgbuild::builder
