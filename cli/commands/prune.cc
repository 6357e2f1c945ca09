#include "builder/store/prune.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "base/error.h"
#include "base/strings.h"
#include "cli/commands/commands.h"
#include "cli/duration.h"
#include "cli/signals.h"
#include "cli/store_session.h"
#include "cli/tier.h"
#include "cli/usage.h"

namespace imgbuild::cli {

namespace {

using builder::ItemKind;

struct PruneOptions {
  std::vector<std::string> filters;
  std::string keep;
  bool all = false, dry_run = false, force = false, verbose = false, quiet = false;
};

/// Our own words, and those of docker buildx.
std::set<ItemKind> parse_type(const std::string& text) {
  if (text == "layer" || text == "regular" || text == "record") return {ItemKind::layer, ItemKind::record};
  if (text == "extracted" || text == "internal") return {ItemKind::extracted, ItemKind::layer_index};
  if (text == "pieces") return {ItemKind::pieces};
  if (text == "cache-mount" || text == "exec.cachemount") return {ItemKind::cache_mount};
  if (text == "image") return {ItemKind::name, ItemKind::document};
  if (text == "leftover") return {ItemKind::leftover, ItemKind::damaged, ItemKind::document};
  throw usage(cat("--filter type=", printable(text), " is not known"))
      .with_note(
          "known: layer, extracted, pieces, cache-mount, image, leftover (and docker's regular, "
          "exec.cachemount, "
          "internal)");
}

builder::PruneRequest make_prune(const PruneOptions& options) {
  builder::PruneRequest request;
  request.all = options.all;
  request.dry_run = options.dry_run;
  if (!options.keep.empty()) request.keep_bytes = parse_size(options.keep, "--keep-storage");
  for (const auto& filter : options.filters) {
    const auto equals = filter.find('=');
    const std::string key = filter.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : filter.substr(equals + 1);
    if (key == "until" || key == "unused-for")
      request.used_before = parse_past(value, wall_clock_now());
    else if (key == "type")
      request.kinds.merge(parse_type(value));
    else
      throw usage(cat("--filter knows until=24h and type=NAME, not \"", printable(filter), "\""));
  }
  return request;
}

/// As docker does: a person is asked, a script is not.
bool is_confirmed(const PruneOptions& options) {
  if (options.force || options.dry_run || ::isatty(STDIN_FILENO) != 1) return true;
  std::cerr << "This removes "
            << (options.all ? "everything that can be made or pulled again"
                            : "the build cache that no named image needs")
            << ". Continue? [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return to_lower(trim(answer)) == "y" || to_lower(trim(answer)) == "yes";
}

int prune(const CommandContext& context, const PruneOptions& options) {
  const builder::PruneRequest request = make_prune(options);
  if (!is_confirmed(options)) return 0;
  const TierChoice tier = enter_best_tier();  // files of RUN belong to ids that exist only there
  SignalWatcher signals;
  auto store = builder::open_store_root(store_path(context.root, context.environment, tier.real_uid == 0),
                                        signals.token());
  const auto result = builder::prune_store(store, request, signals.token());
  if (!options.quiet) {
    for (const auto& item : result.removed) {
      if (options.verbose || options.dry_run) {
        std::cout << printable(cat(pad_left(human_size(item.disk_bytes), 10), "  ",
                                   pad_right(kind_name(item.kind), 12), "  ", item.path,
                                   item.what.empty() ? "" : "  ", item.what))
                  << "\n";
      }
    }
  }
  std::cout << (options.dry_run ? "Would reclaim: " : "Reclaimed: ") << human_size(result.freed_bytes)
            << "\n";
  if (request.keep_bytes && result.left_bytes > *request.keep_bytes) {
    std::cerr << "note: the store still takes " << human_size(result.left_bytes)
              << ": what is left has a name, is in use or does not match the filters"
              << (options.all ? "" : "; --all also removes what can be made or pulled again") << "\n";
  }
  return 0;
}

}  // namespace

std::string add_prune_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command =
      app.add_subcommand("prune", "Remove cache that is not needed, the least recently used first.");
  auto options = std::make_shared<PruneOptions>();
  command->add_flag("-a,--all", options->all, "Also what images need but can be made or pulled again");
  command
      ->add_option("--filter", options->filters,
                   "until=24h: not used since; type=layer|extracted|cache-mount|image|leftover")
      ->allow_extra_args(false);
  command->add_option("--keep-storage,--max-used-space", options->keep,
                      "Stop when the store takes no more than this: 10g");
  command->add_flag("--dry-run", options->dry_run, "Say what would be removed, remove nothing");
  command->add_flag("-f,--force", options->force, "Do not ask");
  command->add_flag("--verbose", options->verbose, "List what is removed");
  command->add_flag("-q,--quiet", options->quiet, "Print the total only");
  command->add_option("--root", context.root, "Directory of the store");
  command->callback([=, &context, &chosen] { chosen = [=, &context] { return prune(context, *options); }; });
  return "prune";
}

}  // namespace imgbuild::cli
