#include "cli/build_report.h"

#include "base/strings.h"
#include "oci/descriptor_json.h"
#include "oci/json_writer.h"

namespace imgbuild::cli {

namespace {

std::string milliseconds(std::chrono::nanoseconds took) {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
  return cat(micros / 1000, ".", micros % 1000 < 100 ? "0" : "", micros % 1000 / 10, " ms");
}

}  // namespace

std::string metadata_json(const builder::BuildResult& result) {
  oci::JsonWriter json(true);
  json.begin_object();
  if (result.image) {
    json.key("containerimage.config.digest").string(result.config_digest.str());
    json.key("containerimage.descriptor");
    oci::write_descriptor(json, *result.image);
    json.key("containerimage.digest").string(result.image->digest.str());
  }
  std::vector<std::string> names;
  for (const auto& name : result.tags) names.push_back(name.str());
  if (!names.empty()) json.key("image.name").string(join(names, ","));
  json.end_object();
  return json.take() + "\n";
}

std::string stats_text(const builder::BuildStats& stats) {
  std::string out =
      cat("steps: ", stats.steps_run, " run, ", stats.steps_cached, " cached\n",
          "context: ", stats.context_files_listed, " entries listed, ", stats.context_dirs_opened,
          " directories opened, ", stats.context_digests_remembered, " digests remembered, ",
          stats.context_bytes_read, " bytes read\n", "layers: ", stats.layer_bytes_written,
          " bytes written, ", stats.layer_bytes_reused, " of them reused\n");
  for (const auto& [label, use] : stats.commands)
    out += cat("run: ", std::chrono::duration_cast<std::chrono::milliseconds>(use.cpu_time).count(),
               " ms of processor time, at most ", human_size(use.peak_memory_bytes), " of memory ",
               use.peak_is_sampled ? "seen "
               : use.peak_is_total ? ""
                                   : "in one process ",
               "for ", printable(label), "\n");
  out += cat("sync: ", stats.syncs, " calls, ", milliseconds(stats.sync_time), "\n");
  for (const auto& [name, took] : stats.phases) {
    out += cat("time: ", pad_right(name, 16), " ", milliseconds(took), "\n");
  }
  return out;
}

}  // namespace imgbuild::cli
