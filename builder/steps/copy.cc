#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "builder/copy_engine.h"
#include "builder/layer_content.h"
#include "builder/remote_sources.h"
#include "builder/steps/step.h"
#include "oci/http_url.h"
#include "oci/layer_order.h"
#include "parser/file_mode.h"
#include "parser/git_reference.h"
#include "parser/place_of.h"

namespace imgbuild::builder {

namespace {

/// Sources that live in one tree, applied together. A COPY has one part; an ADD has one for each remote
/// source.
struct CopyPart {
  CopyRequest request;
  std::shared_ptr<SourceTree> tree;
  std::unique_ptr<CopySelection> selection;
  std::string remote_key;  ///< what names a remote source in the key, when there is one
};

CopyRequest request_without_sources(const StepContext& context, const CopyOp& op) {
  CopyRequest request;
  request.destination = op.destination;
  request.chown = op.chown;
  request.chmod = op.chmod;
  request.parents = op.parents;
  request.excludes = op.excludes;
  request.build_time = step_time(context);
  request.stop = context.stop;
  request.spool = context.host.store;
  return request;
}

CopyPart remote_part(const StepContext& context, const CopyOp& op, const std::string& source,
                     std::stop_token stop) {
  CopyPart part;
  part.request = request_without_sources(context, op);
  RemoteRequest remote{.source = source,
                       .checksum = op.checksum,
                       .keep_git_dir = op.keep_git_dir,
                       .build_time = part.request.build_time};
  RemoteResult fetched = context.host.remote.fetch(remote, context.request.secrets, stop);
  part.request.sources = {fetched.path};
  part.request.takes_root = fetched.is_git;
  part.request.unpack_archives = !fetched.is_git && op.unpack.value_or(false);
  part.tree = std::move(fetched.tree);
  part.remote_key = std::move(fetched.key);
  return part;
}

/// Local sources keep their order among each other; so do the groups. Inline files come last (COPY grammar).
std::vector<CopyPart> split_parts(const StepContext& context, const CopyOp& op, std::stop_token stop) {
  std::vector<CopyPart> parts;
  for (const std::string& source : op.sources) {
    const auto git = op.is_add ? parser::parse_git_reference(source) : std::nullopt;
    if (op.is_add && (oci::is_http(source) || (git && !git->context_only))) {
      parts.push_back(remote_part(context, op, source, stop));
      continue;
    }
    if (parts.empty() || !parts.back().remote_key.empty()) {
      CopyPart part;
      part.request = request_without_sources(context, op);
      part.request.unpack_archives = op.is_add && op.unpack.value_or(true);
      part.tree = context.origins.tree(op.from);
      parts.push_back(std::move(part));
    }
    parts.back().request.sources.push_back(source);
  }
  if (parts.empty() || (!op.inline_files.empty() && !parts.back().remote_key.empty())) {
    CopyPart part;
    part.request = request_without_sources(context, op);
    part.tree = context.origins.tree(FromScratch{});
    parts.push_back(std::move(part));
  }
  parts.back().request.inline_files = op.inline_files;
  try {
    for (CopyPart& part : parts) part.selection = select_sources(part.request, *part.tree);
  } catch (SourceError& error) {
    error.locate(parser::place_of(error.source(), context.step.where));
    throw;
  }
  return parts;
}

/// What of the step's key is known without reading a file.
cache::CacheKey copy_outline(const StepContext& context, const CopyOp& op,
                             const std::vector<CopyPart>& parts) {
  cache::CacheKeyBuilder builder(op.link ? "copy-link-outline" : "copy-outline");
  builder.add("parent", context.before.key().str());
  for (const CopyPart& part : parts) part.selection->add_outline_to_key(builder);
  return builder.finish();
}

cache::CacheKey copy_key(const StepContext& context, const CopyOp& op, const std::vector<CopyPart>& parts,
                         const std::optional<Digest>& parent) {
  cache::CacheKeyBuilder builder(op.link ? "copy-link-v1" : "copy-v1");
  if (parent) builder.add("parent", parent->str());
  for (const CopyPart& part : parts) {
    if (!part.remote_key.empty()) builder.add("remote", part.remote_key);
    part.selection->add_to_key(builder);
  }
  if (!op.link && chown_needs_target(op.chown)) {
    const oci::FileTree target = context.host.indexes.tree(context.before.snapshot().layers);
    add_owner_files_to_key(builder, target, *layer_content(context.host, context.before.snapshot().layers));
  }
  return builder.finish();
}

/// Puts the entries of one part over those of the parts before it: a later file of the same name wins.
void merge(std::vector<oci::PendingEntry>& all, std::vector<oci::PendingEntry> more) {
  std::map<std::string, std::size_t> at;
  for (std::size_t i = 0; i < all.size(); ++i) at[all[i].entry.path] = i;
  for (auto& pending : more) {
    const auto known = at.find(pending.entry.path);
    if (known == at.end())
      all.push_back(std::move(pending));
    else
      all[known->second] = std::move(pending);
  }
  all = oci::order_entries(std::move(all));
}

std::vector<oci::PendingEntry> plan_parts(const StepContext& context, const CopyOp& op,
                                          const std::vector<CopyPart>& parts) {
  const PartTimer timer(context.times, PartTimes::Part::plan);
  oci::FileTree target =
      op.link ? oci::FileTree() : context.host.indexes.tree(context.before.snapshot().layers);
  const auto content = layer_content(context.host, context.before.snapshot().layers);
  std::vector<oci::PendingEntry> all;
  for (const CopyPart& part : parts) {
    auto entries = plan_copy(part.request, *part.selection, target, *content);
    if (parts.size() == 1) return entries;
    oci::LayerIndex index;
    for (const auto& pending : entries) index.entries.push_back(pending.entry);
    // The next part must see these files; nobody opens them through the tree, so any diff ID will do.
    target = target.apply(index, oci::DiffId{sha256("entries of the same step")});
    merge(all, std::move(entries));
  }
  return all;
}

/// Reading so much twice, once for the key and once for the layer, is worth avoiding.
constexpr std::uint64_t kMuchToHash = 1 << 20;

/// Whether making the layer before its key is known saves reading: content is read once then.
bool reads_once_layer_first(const std::vector<CopyPart>& parts) {
  bool much = false;
  for (const CopyPart& part : parts) {
    if (!part.remote_key.empty() || part.request.unpack_archives || !part.tree->learns_digests())
      return false;
    much = much || part.selection->must_hash(kMuchToHash);
  }
  return much;
}

}  // namespace

StepOutcome run_copy(const StepContext& context, const CopyOp& op, std::stop_token stop) {
  const auto parts =
      timed(context.times, PartTimes::Part::select, [&] { return split_parts(context, op, stop); });
  // A layer made first is wasted if its key turns out to be known, so only where the same step was not
  // recorded, by this build's predecessors or by one that runs beside it, or where records are not asked.
  std::optional<WorkClaim> claim;
  std::optional<oci::WrittenLayer> made;
  const bool asks_records = context.use_cache && !context.before.forced();
  if (reads_once_layer_first(parts) && !(asks_records && same_step_was_recorded(context))) {
    if (asks_records) claim = claim_outline(context, copy_outline(context, op, parts), stop);
    if (!asks_records || !same_step_was_recorded(context)) {
      made = write_step_layer(context, plan_parts(context, op, parts));
      if (stop.stop_requested()) throw Cancelled();
    }
  }
  const auto make = [&](const cache::CacheKey& wanted, bool independent) {
    if (made) return record_layer(context, wanted, *made, independent);
    return store_layer(context, wanted, plan_parts(context, op, parts), independent);
  };
  const cache::CacheKey key = timed(context.times, PartTimes::Part::key,
                                    [&] { return copy_key(context, op, parts, context.before.key()); });
  const MissHints hints{.arguments = {}, .entries = [&] { return plan_parts(context, op, parts); }};
  return hit_or_make({context, key, &hints}, stop, [&] {
    if (!op.link) return make(key, false);
    // COPY --link depends on its sources only: the layer is found again under a key without the parent
    // (COPY-71), and the step counts as executed because what is below changed. Its miss was said above, of
    // the step as a whole.
    const cache::CacheKey link_key = copy_key(context, op, parts, std::nullopt);
    StepOutcome outcome = hit_or_make({.context = context, .key = link_key, .independent = true}, stop,
                                      [&] { return make(link_key, true); });
    outcome.how = StepFinished::How::ran;
    outcome.after.key = key.digest();
    put_record(context, key, outcome, false);
    return outcome;
  });
}

}  // namespace imgbuild::builder
