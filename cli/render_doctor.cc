#include "cli/render_doctor.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/strings.h"
#include "builder/tier_advice.h"

namespace imgbuild::cli {

namespace {

using builder::Advice;
using builder::Blocker;
using builder::Tier;
using OrderedJson = nlohmann::ordered_json;

constexpr Tier kTiers[] = {Tier::root, Tier::user_namespace, Tier::single_id, Tier::chroot, Tier::none};

/// Measured as docs/tiers.md tells.
constexpr const char* kFuseCost =
    "files cost 2 to 6 times what they cost in overlays of the kernel (docs/tiers.md)";

std::string indented(std::string_view text, std::string_view indent) {
  std::string out;
  for (const auto line : split(text, '\n')) out += cat(indent, line, "\n");
  return out;
}

std::string milliseconds(std::chrono::nanoseconds time) {
  const auto hundredths = time.count() / 10'000;
  const std::string fraction = cat(hundredths % 100);
  return cat(hundredths / 100, ".", fraction.size() < 2 ? "0" : "", fraction, " ms");
}

std::string rung(const DoctorReport& report, Tier tier) {
  const Tier given = report.support.tier;
  std::string out =
      cat(tier == given ? "* " : "  ", builder::tier_name(tier), "  ", builder::tier_meaning(tier), "\n");
  if (tier == given) return out;
  for (const Blocker& blocker : report.support.blockers)
    if (blocker.tier == tier) out += cat("      no: ", printable(blocker.text()), "\n");
  return out;
}

void add_advice(std::string& out, const Advice& advice) {
  out += cat("  ", advice.title, ":\n", indented(advice.snippet, "      "));
}

std::string ways_up(const DoctorReport& report) {
  std::string out, last;
  std::set<std::string> seen;
  for (const Blocker& blocker : report.support.blockers) {
    for (const Advice& advice : advice_for(blocker, report.facts)) {
      const std::string heading =
          cat("To get ", builder::tier_name(blocker.tier), " (", printable(blocker.text()), "):\n");
      if (heading != last) out += cat("\n", heading);
      last = heading;
      if (seen.insert(advice.snippet).second)
        add_advice(out, advice);
      else
        out += cat("  ", advice.title, ": as above\n");
    }
  }
  if (report.support.overlay_failed) {
    out += cat("\nTo get overlay snapshots (", printable(report.support.snapshotter_reason), "):\n");
    add_advice(out, builder::overlay_advice(report.support.better_place));
  }
  return out;
}

std::string confinement(const builder::RunSupport& support) {
  if (!support.apparmor.attribute.empty()) return cat("RUN is put under ", builder::kAppArmorProfile);
  return support.apparmor.reason.empty() ? "none for RUN" : cat("none for RUN: ", support.apparmor.reason);
}

/// A try says more than a look.
std::string no_fuse(const DoctorReport& report) {
  if (report.support.snapshotter == "fuse-overlayfs") return {};
  return report.support.fuse_reason.empty() ? report.fuse : report.support.fuse_reason;
}

std::string fuse_overlayfs(const DoctorReport& report) {
  const std::string why = no_fuse(report);
  return why.empty() ? cat("fuse-overlayfs is there: ", kFuseCost)
                     : cat("no fuse-overlayfs: ", printable(why));
}

std::string known(const std::string& text) { return text.empty() ? "none" : printable(text); }

}  // namespace

std::string render_doctor(const DoctorReport& report) {
  const auto& facts = report.facts;
  std::string out = "What RUN gets here, best first:\n";
  for (const Tier tier : kTiers) out += rung(report, tier);
  out += cat("\nsnapshots:   ", report.support.snapshotter.empty() ? "none" : report.support.snapshotter);
  if (!report.support.snapshotter_reason.empty())
    out += cat(" (no overlay: ", printable(report.support.snapshotter_reason), ")");
  out += cat("\nfuse:        ", fuse_overlayfs(report));
  out += cat("\nlimits:      ", known(facts.cgroup),
             "\nlaunch:      ", report.launch ? milliseconds(*report.launch) : std::string("not measured"),
             "\nstore:       ", printable(facts.store_path), " (", facts.store_file_system,
             ")\nkernel:      ", known(facts.kernel), "\nsecurity:    ", known(facts.security),
             facts.seccomp ? ", a system call filter around imgbuild" : "",
             "\nAppArmor:    ", confinement(report.support), "\ncontainer:   ", known(facts.container), "\n");
  return out + ways_up(report);
}

std::string render_doctor_json(const DoctorReport& report) {
  const auto& facts = report.facts;
  OrderedJson ladder = OrderedJson::array();
  for (const Tier tier : kTiers) {
    OrderedJson blocked = OrderedJson::array();
    for (const Blocker& blocker : report.support.blockers) {
      if (blocker.tier != tier) continue;
      OrderedJson advice = OrderedJson::array();
      for (const Advice& way : advice_for(blocker, facts))
        advice.push_back({{"title", way.title}, {"snippet", way.snippet}});
      blocked.push_back(
          {{"reason", printable(blocker.text())}, {"errno", blocker.error_number}, {"advice", advice}});
    }
    ladder.push_back({{"tier", builder::tier_name(tier)},
                      {"meaning", builder::tier_meaning(tier)},
                      {"chosen", tier == report.support.tier},
                      {"blocked_by", blocked}});
  }
  OrderedJson out = {
      {"tier", builder::tier_name(report.support.tier)},
      {"ladder", ladder},
      {"snapshotter", report.support.snapshotter},
      {"no_overlay", printable(report.support.snapshotter_reason)},
      {"fuse_overlayfs",
       {{"available", no_fuse(report).empty()}, {"reason", printable(no_fuse(report))}, {"cost", kFuseCost}}},
      {"limits", facts.cgroup},
      {"launch_ns", report.launch ? OrderedJson(report.launch->count()) : OrderedJson()},
      {"store", {{"path", printable(facts.store_path)}, {"file_system", facts.store_file_system}}},
      {"kernel", facts.kernel},
      {"security", facts.security},
      {"seccomp", facts.seccomp},
      {"apparmor",
       report.support.apparmor.attribute.empty() ? OrderedJson() : OrderedJson(builder::kAppArmorProfile)},
      {"container", facts.container}};
  return cat(out.dump(2, ' ', false, OrderedJson::error_handler_t::replace), "\n");
}

}  // namespace imgbuild::cli
