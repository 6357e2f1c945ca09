#include <algorithm>

#include "base/error.h"
#include "base/secret_bytes.h"
#include "base/strings.h"
#include "builder/output_limit.h"
#include "builder/secret_guard.h"
#include "builder/steps/run_devices.h"
#include "builder/steps/run_mounts.h"
#include "builder/steps/run_network.h"
#include "builder/steps/run_trust.h"
#include "builder/steps/step.h"
#include "builder/user_lookup.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kTailSize = 8 * 1024;  ///< output kept for the error message

/// The last bytes of a stream, from the start of a line where that is possible.
class OutputTail {
 public:
  void append(std::string_view bytes) {
    text_ += bytes;
    if (text_.size() > 2 * kTailSize) text_.erase(0, text_.size() - kTailSize);
  }
  std::string take() {
    if (text_.size() > kTailSize) text_.erase(0, text_.size() - kTailSize);
    return std::move(text_);
  }

 private:
  std::string text_;
};

cache::CacheKey run_key(const StepContext& context, const RunOp& op, const std::vector<std::string>& env,
                        RunMounts& mounts) {
  cache::CacheKeyBuilder builder("run-v1");
  builder.add("parent", context.before.key().str()).add("platform", context.stage.platform.str());
  for (const auto& word : op.argv) builder.add("argv", word);
  for (const auto& entry : env) builder.add("env", entry);
  builder.add("workdir", op.working_dir).add("user", op.user).add("hostname", op.hostname);
  for (const auto& [name, address] : context.request.extra_hosts) builder.add("host", name);
  builder.add("network", op.network).add("security", op.security);
  if (!context.request.filter_calls) builder.add("seccomp", "unconfined");
  builder.add("shm size", cat(context.request.shm_size_bytes));
  for (const auto& limit : context.request.ulimits)
    builder.add("ulimit", cat(limit.name, "=", limit.soft, ":", limit.hard));
  if (op.script) builder.add("script", op.script->second);
  for (const auto& device : op.devices) builder.add("device", device);
  mounts.add_to_key(builder);
  return builder.finish();
}

std::vector<std::string> argument_names(const RunOp& op) {
  std::vector<std::string> names;
  for (auto& [name, value] : op.scope.arguments()) names.push_back(std::move(name));
  return names;
}

bool has_variable(const std::vector<std::string>& env, std::string_view name) {
  return std::any_of(env.begin(), env.end(), [&](const std::string& entry) {
    return entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=';
  });
}

/// `env` with `entry` in place of an earlier one of the same name, or at the end.
void set_variable(std::vector<std::string>& env, const std::string& entry) {
  const std::string prefix = entry.substr(0, entry.find('=') + 1);
  const auto known =
      std::find_if(env.begin(), env.end(), [&](const auto& e) { return e.starts_with(prefix); });
  if (known == env.end())
    env.push_back(entry);
  else
    *known = entry;
}

SandboxSpec make_spec(const StepContext& context, const RunOp& op, const std::vector<std::string>& env,
                      const UserIds& user, RunMounts& mounts, const RunNetwork& network,
                      const RunDevices& devices) {
  SandboxSpec spec;
  spec.mounts = mounts.take_mounts();
  if (op.script) {
    spec.mounts.push_back({.kind = SandboxMount::Kind::file,
                           .target = cat("/dev/pipes/", op.script->first),
                           .content = op.script->second,
                           .read_only = true,
                           .mode = 0755});
  }
  spec.argv = op.argv;
  Environment named;
  for (const auto& entry : env) {
    // An entry without a name or value would be completed from nowhere (SBX-73, ATK-30): it is left out.
    const auto equals = entry.find('=');
    if (equals != std::string::npos && equals > 0)
      named.set(entry.substr(0, equals), entry.substr(equals + 1));
  }
  spec.env = named.entries();
  for (const auto& entry : op.unkeyed_env) set_variable(spec.env, entry);
  for (const auto& entry : mounts.env()) set_variable(spec.env, entry);
  if (!has_variable(spec.env, "HOME")) spec.env.push_back(cat("HOME=", user.home.empty() ? "/" : user.home));
  spec.working_dir = op.working_dir.empty() ? "/" : op.working_dir;
  spec.uid = user.uid;
  spec.gid = user.gid;
  spec.extra_gids = user.extra_gids;
  spec.hostname = op.hostname;
  network.apply(spec);
  spec.insecure = op.security == "insecure";
  spec.filter_calls = context.request.filter_calls;
  spec.shm_size_bytes = context.request.shm_size_bytes;
  spec.ulimits = context.request.ulimits;
  spec.limits = context.request.limits;
  spec.timeout = context.request.step_timeout;
  devices.add_to(spec);
  return spec;
}

/// The command as the error message names it: the text the user wrote, without the shell in front.
std::string command_text(const RunOp& op) { return join(op.argv, " "); }

/// A cache mount of root's is what a command of another user cannot write to, and rarely what was meant
/// (MNT-34).
void note_cache_owner(const StepContext& context, const RunOp& op, const UserIds& user, Error& error) {
  if (user.uid == 0 || context.request.cache_mounts_of_user) return;
  for (const auto& mount : op.mounts) {
    const bool of_root = mount.options.type == parser::MountOptions::Type::cache && !mount.options.uid;
    if (!of_root || mount.options.read_only) continue;
    error.add_note(cat("the cache mount at ", mount.target,
                       " belongs to root; if the command wants to write there, add uid=", user.uid,
                       ",gid=", user.gid, " to it or build with --cache-mount-owner=user"));
  }
}

/// "1h2m3s", "90s", "1.5s": as it would be written on the command line.
std::string duration_text(std::chrono::nanoseconds time) {
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  if (millis % 1000 != 0) return cat(millis, "ms");
  const auto seconds = millis / 1000;
  std::string out;
  if (seconds >= 3600) out += cat(seconds / 3600, "h");
  if (seconds / 60 % 60 != 0) out += cat(seconds / 60 % 60, "m");
  if (seconds % 60 != 0 || out.empty()) out += cat(seconds % 60, "s");
  return out;
}

void require_success(const StepContext& context, const RunOp& op, const UserIds& user,
                     const SandboxResult& result, std::string tail) {
  if (result.exit_code == 0 && !result.timed_out && !result.limit_reached) return;
  std::string why;
  if (result.timed_out)
    why = cat(": stopped after ", duration_text(*context.request.step_timeout), " (--timeout)");
  else if (result.out_of_memory)
    why = " (killed: out of memory)";
  else if (result.limit_reached)
    why = " (killed: too many processes)";
  StepFailed error(cat("process \"", printable(command_text(op)),
                       "\" did not complete successfully: exit code: ", result.exit_code, why),
                   result.exit_code, std::move(tail));
  if (!result.limit_report.empty()) error.add_note(result.limit_report);
  if (result.exit_code == 127) error.add_note("127 means: the command was not found in the image");
  if (result.exit_code == 126) error.add_note("126 means: the file was found but cannot be executed");
  if (result.exit_code == 137 && !result.timed_out && !result.out_of_memory && !result.limit_reached)
    error.add_note(
        "137 means: the command was killed with SIGKILL, by somebody or because the machine was out of "
        "memory");
  note_cache_owner(context, op, user, error);
  throw error;
}

ResourceUse use_of(const SandboxResult& result) {
  return {result.cpu_time, result.peak_memory_bytes, result.peak_is_total, result.peak_is_sampled};
}

/// Runs the command and reports what it writes and what it used.
SandboxResult run_in_sandbox(const StepContext& context, const SandboxSpec& spec, SecretGuard& guard,
                             OutputTail& tail, std::stop_token stop) {
  OutputLimit limit(context.request.output_limits, OutputLimit::Clock::now());
  const OutputLimit::Sink report = [&](int stream, std::string_view bytes) {
    context.events.on_event(StepOutput{context.id, stream, std::string(bytes)});
  };
  const auto show = [&](int stream, const std::string& bytes) {
    tail.append(bytes);  // all of it: what is clipped above still explains a failure
    limit.write(stream, bytes, OutputLimit::Clock::now(), report);
  };
  SandboxResult result = context.host.run().sandbox->run(
      spec, [&](int stream, std::string_view bytes) { show(stream, guard.output(stream, bytes)); },
      std::move(stop));
  for (const int stream : {1, 2}) show(stream, guard.finish(stream));
  context.events.on_event(StepUsed{context.id, use_of(result)});
  return result;
}

StepOutcome run_now(const StepContext& context, const RunOp& op, const std::vector<std::string>& env,
                    const cache::CacheKey& key, RunMounts& mounts, std::stop_token stop) {
  Host& host = context.host;
  const RunSupport& run = host.run();
  require_run(run);
  if (host.announce_run) host.announce_run(context.events);
  const std::string notice = run.sandbox->take_limits_notice(context.request.limits);
  if (!notice.empty()) context.events.on_event(Noted{notice, true});
  if (op.argv.empty()) throw Error("RUN needs a command: arguments are required");

  host.bases.fetch(context.before.stored().layers);
  const RunDevices devices(context, op);
  const oci::FileTree below = tree_below(host, context.before);
  const auto content = content_below(host, context.before);
  const UserIds user = resolve_user(op.user, below, *content);
  const auto snapshot =
      timed(context.times, PartTimes::Part::prepare, [&] { return prepare_on(host, context.before); });
  const RunNetwork network(context, op.network, stop);
  mounts.open(user, stop);  // last: others may wait for a cache
  SandboxSpec spec = make_spec(context, op, env, user, mounts, network, devices);
  apply_trust(spec, context, below, *content);
  spec.rootfs = snapshot->rootfs();

  OutputTail tail;
  SecretGuard guard(context.request.secrets, mounts.secret_ids());
  SandboxResult result;
  try {
    result = timed(context.times, PartTimes::Part::command,
                   [&] { return run_in_sandbox(context, spec, guard, tail, stop); });
  } catch (const StuckProcess& error) {
    snapshot->leave_to(error.pid());
    throw;
  }
  for (auto& entry : spec.env) wipe(entry);
  mounts.release_caches();
  require_success(context, op, user, result, tail.take());
  guard.check_output();

  const auto entries = timed(context.times, PartTimes::Part::diff,
                             [&] { return guard.guard(snapshot->diff(below, context.epoch, &host.pool)); });
  const auto wait_for_unmount = [&] {
    if (result.unmounted.valid()) result.unmounted.get();
  };
  StepContext storing = context;
  if (start_next_step(context, key, entries, *snapshot, wait_for_unmount)) storing.stop = context.build_stop;
  StepOutcome outcome =
      store_layer(storing, key, entries, false, [&](const oci::LayerBlob& layer, const oci::ChainId& chain) {
        wait_for_unmount();
        snapshot->commit(chain, layer.diff_id);
      });
  outcome.used = use_of(result);
  return outcome;
}

}  // namespace

StepOutcome run_command(const StepContext& context, const RunOp& op, std::stop_token stop) {
  RunMounts mounts(context, op);
  const std::vector<std::string> env = op.scope.entries();
  const cache::CacheKey key = run_key(context, op, env, mounts);
  const MissHints hints{.arguments = argument_names(op), .entries = {}};
  return hit_or_make({context, key, &hints}, stop,
                     [&] { return run_now(context, op, env, key, mounts, stop); });
}

}  // namespace imgbuild::builder
