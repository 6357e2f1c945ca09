#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "builder/store/inventory.h"
#include "builder/store/store_root.h"
#include "cli/commands/commands.h"
#include "cli/store_session.h"
#include "cli/table.h"
#include "cli/tier.h"
#include "oci/json_writer.h"

namespace imgbuild::cli {

namespace {

using builder::Inventory;
using builder::ItemKind;
using builder::StoreItem;

struct DuOptions {
  std::string format = "table";
  bool verbose = false;
};

struct Sum {
  std::uint64_t count = 0, bytes = 0, reclaimable = 0, shared = 0, in_use = 0;

  void add(const StoreItem& item) {
    ++count;
    bytes += item.disk_bytes;
    if (is_reclaimable(item)) reclaimable += item.disk_bytes;
    if (item.records + (item.named ? 1 : 0) > 1) shared += item.disk_bytes;
    if (item.in_use) in_use += item.disk_bytes;
  }

  /// What `imgbuild prune` would remove.
  static bool is_reclaimable(const StoreItem& item) {
    if (item.in_use || item.named) return false;
    return item.kind != ItemKind::bookkeeping && item.kind != ItemKind::work;
  }
};

struct Totals {
  std::map<ItemKind, Sum> by_kind;
  Sum all;
};

Totals add_up(const Inventory& inventory) {
  Totals totals;
  for (const auto& item : inventory.items) {
    totals.by_kind[item.kind].add(item);
    totals.all.add(item);
  }
  return totals;
}

/// Why the item is there.
std::string owner_of(const StoreItem& item) {
  if (item.in_use) return "in use";
  if (item.named) return item.pulled ? "pulled image" : "image";
  if (item.kind == ItemKind::record || item.records != 0) return "cache";
  if (item.kind == ItemKind::cache_mount) return "cache mount";
  if (item.kind == ItemKind::bookkeeping || item.kind == ItemKind::work) return "store";
  return "nothing";
}

void print_table(const Inventory& inventory, bool verbose) {
  const Totals totals = add_up(inventory);
  if (verbose) {
    Table table({"SIZE", "TYPE", "NEEDED BY", "PATH", "WHAT"});
    for (const auto& item : inventory.items) {
      table.add({human_size(item.disk_bytes), std::string(kind_name(item.kind)), owner_of(item), item.path,
                 item.what});
    }
    std::cout << table.text() << "\n";
  }
  Table table({"TYPE", "COUNT", "SIZE", "SHARED", "IN USE", "RECLAIMABLE"});
  const auto row = [&](const std::string& name, const Sum& sum) {
    table.add({name, cat(sum.count), human_size(sum.bytes), human_size(sum.shared), human_size(sum.in_use),
               human_size(sum.reclaimable)});
  };
  for (const auto& [kind, sum] : totals.by_kind) row(std::string(kind_name(kind)), sum);
  row("total", totals.all);
  std::cout << table.text();
}

void write_sum(oci::JsonWriter& json, const Sum& sum) {
  json.key("count").number(static_cast<std::int64_t>(sum.count));
  json.key("size").number(static_cast<std::int64_t>(sum.bytes));
  json.key("shared").number(static_cast<std::int64_t>(sum.shared));
  json.key("inUse").number(static_cast<std::int64_t>(sum.in_use));
  json.key("reclaimable").number(static_cast<std::int64_t>(sum.reclaimable));
}

void print_json(const Inventory& inventory) {
  const Totals totals = add_up(inventory);
  oci::JsonWriter json(true);
  json.begin_object();
  write_sum(json, totals.all);
  json.key("types").begin_array();
  for (const auto& [kind, sum] : totals.by_kind) {
    json.begin_object();
    json.key("type").string(std::string(kind_name(kind)));
    write_sum(json, sum);
    json.end_object();
  }
  json.end_array();
  json.key("items").begin_array();
  for (const auto& item : inventory.items) {
    json.begin_object();
    json.key("path").string(printable(item.path));
    json.key("type").string(std::string(kind_name(item.kind)));
    json.key("size").number(static_cast<std::int64_t>(item.disk_bytes));
    json.key("neededBy").string(owner_of(item));
    json.key("lastUsed").number(item.last_used);
    if (!item.what.empty()) json.key("what").string(printable(item.what));
    json.end_object();
  }
  json.end_array().end_object();
  std::cout << json.take() << "\n";
}

int du(const CommandContext& context, const DuOptions& options) {
  if (options.format != "table" && options.format != "json")
    throw Error(cat("--format is table or json, not \"", printable(options.format), "\""), ExitCode::usage);
  const TierChoice tier = enter_best_tier();  // files of RUN belong to ids that exist only there
  const auto store =
      builder::open_store_root(store_path(context.root, context.environment, tier.real_uid == 0));
  const Inventory inventory = builder::take_inventory(store.dir.get());
  if (options.format == "json")
    print_json(inventory);
  else
    print_table(inventory, options.verbose);
  return 0;
}

}  // namespace

std::string add_du_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("du", "Say what takes how much of the store.");
  auto options = std::make_shared<DuOptions>();
  command->add_option("--format", options->format, "table or json (every item)")->capture_default_str();
  command->add_flag("-v,--verbose", options->verbose, "List every item");
  command->add_option("--root", context.root, "Directory of the store");
  command->callback([=, &context, &chosen] { chosen = [=, &context] { return du(context, *options); }; });
  return "du";
}

}  // namespace imgbuild::cli
