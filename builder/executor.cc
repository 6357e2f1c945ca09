#include "builder/executor.h"

#include <atomic>
#include <map>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "builder/history.h"
#include "builder/layer_content.h"
#include "builder/memory_source.h"
#include "builder/named_contexts.h"
#include "builder/scheduler.h"
#include "builder/stage_source.h"
#include "builder/steps/step.h"

namespace imgbuild::builder {

namespace {

Digest key_of(std::string_view kind, std::string_view text) { return sha256(cat(kind, "\n", text)); }

Snapshot snapshot_of_image(const oci::Image& image, const oci::Platform& platform) {
  Snapshot snapshot{
      {}, std::nullopt, key_of("image-v1", cat(image.descriptor.digest.str(), " ", platform.str()))};
  for (const auto& layer : image.layers) {
    snapshot.layers.push_back(layer);
    snapshot.chain = oci::chain(snapshot.chain, layer.diff_id);
  }
  snapshot.inherited = snapshot.layers.size();
  return snapshot;
}

/// One execution of a plan. Each stage's state is written by its own chain of tasks only, and read by others
/// after that chain has ended, which the scheduler orders.
class Execution final : public Origins {
 public:
  Execution(const ExecuteInputs& inputs, Host& host, EventSink& events, std::stop_token stop)
      : inputs_(inputs),
        host_(host),
        events_(events),
        stop_(std::move(stop)),
        stages_(inputs.plan.stages.size()) {}

  ExecuteResult run() {
    if (host_.run_is_doubtful) refuse_hopeless_runs();
    run_tasks(make_tasks(), job_count(), stop_);
    ExecuteResult result;
    StageState& target = stages_.at(inputs_.plan.target);
    result.target.snapshot = *target.snapshot;
    result.target.history = finished_history(inputs_.plan.target);
    result.steps_run = steps_run_;
    result.steps_cached = steps_cached_;
    result.layer_bytes = layer_bytes_;
    result.parts = times_.named();
    result.commands = std::move(commands_);
    result.layer_bytes_reused = layer_bytes_reused_;
    return result;
  }

  std::shared_ptr<SourceTree> tree(const Origin& origin) override {
    if (const auto* context = std::get_if<FromContext>(&origin)) return context_tree(context->name);
    return snapshot_tree(*snapshot(origin));
  }

  std::optional<Snapshot> snapshot(const Origin& origin) override {
    if (std::holds_alternative<FromScratch>(origin))
      return Snapshot{{}, std::nullopt, key_of("scratch-v1", "")};
    if (const auto* image = std::get_if<FromImage>(&origin)) {
      return snapshot_of_image(inputs_.images.at(image->image),
                               inputs_.plan.images.at(image->image).platform);
    }
    if (const auto* stage = std::get_if<FromStage>(&origin)) return stages_.at(stage->stage).snapshot;
    return std::nullopt;
  }

  std::string describe(const Origin& origin) override {
    if (const auto* stage = std::get_if<FromStage>(&origin))
      return cat("stage ", inputs_.plan.stages.at(stage->stage).display_name);
    if (const auto* image = std::get_if<FromImage>(&origin)) {
      return cat(inputs_.plan.images.at(image->image).reference, " ",
                 inputs_.images.at(image->image).descriptor.digest.str());
    }
    if (const auto* context = std::get_if<FromContext>(&origin)) return cat("context ", context->name);
    return "scratch";
  }

 private:
  struct StageState {
    std::optional<Snapshot> snapshot;
    std::vector<std::optional<Timestamp>> created;  // of the stage's own history entries
    std::optional<Timestamp> context_created;       // of the layer a context as base makes
    /// Layers of steps that the next step may start on before they are stored; by step. An item is written by
    /// its step before its release, and read and reset by the next step.
    std::vector<std::shared_ptr<const PendingLayer>> pending;
  };

  std::size_t job_count() const {
    // RUN steps wait more than they compute, so a build may have more of them than processors.
    return inputs_.request.jobs != 0 ? inputs_.request.jobs : std::max<std::size_t>(8, 2 * host_.pool.size());
  }

  /// SBX-5. A RUN that was never run cannot come from the cache; nobody has to wait for the steps before it
  /// to learn that it is impossible.
  void refuse_hopeless_runs() {
    for (const PlannedStage& stage : inputs_.plan.stages) {
      for (const PlanStep& step : stage.steps) {
        if (!std::holds_alternative<RunOp>(step.op)) continue;
        const bool may_hit = inputs_.request.use_cache && !stage.no_cache &&
                             !host_.cache.find_by_slot(cat(stage.display_name, " ", step.history)).empty();
        if (may_hit) continue;
        try {
          require_run(host_.run());
        } catch (Error& error) {
          error.locate(step.where);
          throw;
        }
        return;
      }
    }
  }

  // ---- tasks

  std::vector<Task> make_tasks() {
    const auto& stages = inputs_.plan.stages;
    std::vector<std::size_t> last_task(stages.size());
    std::vector<Task> tasks;
    StepId step_id = 0;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      Task start;
      if (const auto* base = std::get_if<FromStage>(&stages[i].base))
        start.waits_for = {last_task.at(base->stage)};
      start.run = [this, i](std::stop_token, const Release&) { start_stage(i); };
      tasks.push_back(std::move(start));
      for (std::size_t s = 0; s < stages[i].steps.size(); ++s) {
        Task task;
        // A command can start on the files of the one before it (docs/adr/0015), which then lies on stored
        // layers: one layer is pending at a time.
        if (follows_command(stages[i], s)) {
          task.waits_for_release = {tasks.size() - 1};
          task.waits_for = {tasks.size() - 2};
        } else {
          task.waits_for = {tasks.size() - 1};
        }
        for (const std::size_t needed : stages_needed(stages[i].steps[s]))
          task.waits_for.push_back(last_task.at(needed));
        task.run = [this, i, s, id = step_id++](std::stop_token stop, const Release& release) {
          run_step(i, s, id, stop, release);
        };
        tasks.push_back(std::move(task));
      }
      last_task[i] = tasks.size() - 1;
    }
    return tasks;
  }

  /// Whether the step and the one before it are commands.
  static bool follows_command(const PlannedStage& stage, std::size_t step) {
    const auto is_command = [&](std::size_t number) {
      return std::holds_alternative<RunOp>(stage.steps[number].op);
    };
    return step > 0 && is_command(step - 1) && is_command(step);
  }

  static std::vector<std::size_t> stages_needed(const PlanStep& step) {
    std::vector<std::size_t> needed;
    const auto add = [&](const Origin& origin) {
      if (const auto* stage = std::get_if<FromStage>(&origin)) needed.push_back(stage->stage);
    };
    if (const auto* copy = std::get_if<CopyOp>(&step.op)) add(copy->from);
    if (const auto* run = std::get_if<RunOp>(&step.op)) {
      for (const auto& mount : run->mounts) add(mount.from);
    }
    return needed;
  }

  void start_stage(std::size_t number) {
    const PlannedStage& stage = inputs_.plan.stages[number];
    StageState& state = stages_[number];
    state.created.resize(stage.history.size());
    state.pending.resize(stage.steps.size());
    state.snapshot = snapshot(stage.base);
    if (state.snapshot) return;
    const StepOutcome outcome = run_context(std::get<FromContext>(stage.base), stage);
    state.snapshot = outcome.after;
    state.context_created = outcome.created;
  }

  /// `FROM` a named context that is a directory: its files are one layer on scratch (CTX-11, CTX-14).
  StepOutcome run_context(const FromContext& context, const PlannedStage& stage) {
    const Below scratch(Snapshot{{}, std::nullopt, key_of("scratch-v1", "")});
    const CopyOp op{.from = context, .sources = {"/"}, .inline_files = {}, .destination = "/"};
    const PlanStep step{.op = op, .title = stage.from_title, .where = stage.where};
    const StepContext step_context{inputs_.request,
                                   host_,
                                   *this,
                                   events_,
                                   stage,
                                   step,
                                   0,
                                   scratch,
                                   inputs_.request.use_cache,
                                   inputs_.plan.source_date_epoch,
                                   times_,
                                   stop_};
    return run_copy(step_context, op, stop_);
  }

  // ---- steps

  void run_step(std::size_t stage_number, std::size_t step_number, StepId id, std::stop_token stop,
                const Release& release) {
    const PlannedStage& stage = inputs_.plan.stages[stage_number];
    const PlanStep& step = stage.steps[step_number];
    events_.on_event(StepStarted{id, label(stage, step_number), step.where});
    const auto begin = std::chrono::steady_clock::now();
    const auto finished = [&](StepFinished::How how) {
      events_.on_event(StepFinished{id, how, std::chrono::steady_clock::now() - begin});
    };
    StageState& state = stages_[stage_number];
    std::shared_ptr<const PendingLayer> pending;
    const auto go_ahead = [&](std::shared_ptr<const PendingLayer> layer) {
      pending = layer;
      state.pending[step_number] = std::move(layer);
      release();
    };
    try {
      const Below before = take_below(state, step_number);
      const bool may_go_ahead =
          step_number + 1 < stage.steps.size() && follows_command(stage, step_number + 1);
      const StepContext context{inputs_.request,
                                host_,
                                *this,
                                events_,
                                stage,
                                step,
                                id,
                                before,
                                inputs_.request.use_cache && !stage.no_cache,
                                inputs_.plan.source_date_epoch,
                                times_,
                                stop,
                                may_go_ahead ? go_ahead : decltype(StepContext::go_ahead)(),
                                stop_};
      const StepOutcome outcome = dispatch(context, step, stop);
      // Before the next step learns that this layer is stored: it is the next to write here.
      state.snapshot = outcome.after;
      if (step.history < state.created.size()) state.created[step.history] = outcome.created;
      if (pending) pending->stored(outcome.after);
      ++(outcome.how == StepFinished::How::cached ? steps_cached_ : steps_run_);
      if (outcome.used) {
        const std::lock_guard guard(commands_mutex_);
        commands_.emplace_back(label(stage, step_number), *outcome.used);
      }
      if (outcome.how == StepFinished::How::ran) count_layer(outcome);
      finished(outcome.how);
    } catch (Error& error) {
      if (pending) pending->failed();
      finished(StepFinished::How::failed);
      error.locate(step.where);
      error.add_context(cat("running step ", label(stage, step_number)));
      throw;
    } catch (const Cancelled&) {
      if (pending) pending->failed();
      finished(StepFinished::How::skipped);
      throw;
    } catch (...) {
      if (pending) pending->failed();
      throw;
    }
  }

  void count_layer(const StepOutcome& outcome) {
    layer_bytes_ += outcome.after.layers.back().blob.size;
    layer_bytes_reused_ += outcome.reused_bytes;
  }

  static Below take_below(StageState& state, std::size_t step_number) {
    if (step_number > 0) {
      if (auto pending = std::exchange(state.pending[step_number - 1], nullptr))
        return Below(std::move(pending));
    }
    return Below(*state.snapshot);
  }

  static StepOutcome dispatch(const StepContext& context, const PlanStep& step, const std::stop_token& stop) {
    if (stop.stop_requested()) throw Cancelled();
    if (const auto* run = std::get_if<RunOp>(&step.op)) return run_command(context, *run, stop);
    if (const auto* copy = std::get_if<CopyOp>(&step.op)) return run_copy(context, *copy, stop);
    return run_workdir(context, std::get<WorkdirOp>(step.op), stop);
  }

  /// "[build 2/5] RUN make" (PRG-2, PRG-3): the FROM counts when it is an image.
  std::string label(const PlannedStage& stage, std::size_t step_number) const {
    const std::size_t offset = std::holds_alternative<FromImage>(stage.base) ? 1 : 0;
    const std::string total = cat(stage.steps.size() + offset);
    const std::string number = pad_left(cat(step_number + 1 + offset), total.size());
    const std::string name = inputs_.plan.stages.size() > 1 ? cat(stage.display_name, " ") : "";
    return cat("[", name, number, "/", total, "] ", stage.steps[step_number].title);
  }

  // ---- trees

  std::shared_ptr<SourceTree> context_tree(const std::string& name) {
    if (name.empty()) return inputs_.main_context;
    const std::lock_guard guard(contexts_mutex_);
    auto& tree = contexts_[name];
    if (!tree) {
      for (const auto& context : inputs_.request.named_contexts) {
        if (context.name == name) tree = open_named_tree(context, inputs_.request, host_, stop_);
      }
    }
    return tree;
  }

  std::shared_ptr<SourceTree> snapshot_tree(const Snapshot& snapshot) {
    return make_stage_source(host_.indexes.tree(snapshot.layers), layer_content(host_, snapshot.layers));
  }

  // ---- history

  /// Empty entries take the time of the next new layer, or of the last one at the end (CFG-21).
  std::vector<oci::HistoryEntry> finished_history(std::size_t stage_number) {
    const PlannedStage& stage = inputs_.plan.stages[stage_number];
    std::vector<oci::HistoryEntry> all;
    std::optional<Timestamp> last_of_base;
    if (const auto* base = std::get_if<FromStage>(&stage.base)) {
      all = finished_history(base->stage);
      if (!all.empty()) last_of_base = all.back().created;
    } else if (const auto* image = std::get_if<FromImage>(&stage.base)) {
      all = inputs_.images.at(image->image).config.history;
    }
    auto own = builder::finished_history(stage);
    const auto& times = stages_[stage_number].created;
    std::optional<Timestamp> next;
    for (std::size_t i = own.size(); i-- > 0;) {
      if (times[i]) next = times[i];
      own[i].created = next;
    }
    std::optional<Timestamp> last = last_of_base;
    for (auto& entry : own) {
      if (entry.created)
        last = entry.created;
      else
        entry.created = last;
      if (inputs_.plan.source_date_epoch) entry.created = Timestamp{*inputs_.plan.source_date_epoch, 0};
    }
    all.insert(all.end(), own.begin(), own.end());
    if (stages_[stage_number].context_created) all.push_back(entry_of_context(stage_number));
    return all;
  }

  /// A context as base makes a layer no instruction stands for. The reference puts its entry last and names
  /// it after the last layer (case CP-FR-24).
  oci::HistoryEntry entry_of_context(std::size_t stage_number) {
    const PlannedStage& stage = inputs_.plan.stages[stage_number];
    const std::size_t count = stage.steps.size();
    oci::HistoryEntry entry;
    entry.created = stages_[stage_number].context_created;
    for (const auto& time : stages_[stage_number].created) {
      if (time) entry.created = time;
    }
    if (inputs_.plan.source_date_epoch) entry.created = Timestamp{*inputs_.plan.source_date_epoch, 0};
    entry.created_by =
        count == 0 ? stage.from_title : cat("[", count, "/", count + 1, "] ", stage.steps.back().title);
    entry.comment = "buildkit.exporter.image.v0";
    return entry;
  }

  const ExecuteInputs& inputs_;
  Host& host_;
  EventSink& events_;
  std::stop_token stop_;
  std::vector<StageState> stages_;
  PartTimes times_;
  std::atomic<std::size_t> steps_run_ = 0;
  std::atomic<std::size_t> steps_cached_ = 0;
  std::atomic<std::uint64_t> layer_bytes_ = 0;
  std::mutex commands_mutex_;
  std::vector<std::pair<std::string, ResourceUse>> commands_;
  std::atomic<std::uint64_t> layer_bytes_reused_ = 0;
  std::mutex contexts_mutex_;
  std::map<std::string, std::shared_ptr<SourceTree>> contexts_;
};

}  // namespace

ExecuteResult execute(const ExecuteInputs& inputs, Host& host, EventSink& events, std::stop_token stop) {
  return Execution(inputs, host, events, std::move(stop)).run();
}

}  // namespace imgbuild::builder
