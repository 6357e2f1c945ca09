#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parser/instruction.h"

namespace imgbuild::parser {

/// Who a stage needs. Edges come from FROM, COPY --from, RUN --mount from (STG-2).
struct StageEdges {
  std::optional<std::size_t> base;       ///< index of the stage this one is FROM
  std::vector<std::size_t> copies_from;  ///< sorted, without duplicates
};

/// Names and edges of the stages of one file, before anything is executed. ONBUILD triggers add edges later
/// through `add_edge`.
class StageGraph {
 public:
  /// `expanded_bases[i]` is the FROM name of stage i after expansion. Throws SyntaxError for a reference to a
  /// later stage or to itself (COPY-2, MNT-25, STG-5), located at the instruction.
  StageGraph(const Dockerfile& file, const std::vector<std::string>& expanded_bases);

  std::size_t size() const noexcept { return edges_.size(); }
  const StageEdges& edges(std::size_t stage) const { return edges_.at(stage); }

  /// The stage COPY --from=`name` of stage `user` means: an index, or a name in any case (COPY-2). Nothing when
  /// it is no stage (then a named context or an image). Throws SyntaxError for forward and self references.
  std::optional<std::size_t> find_copy_source(std::string_view name, std::size_t user) const;
  /// The stage `RUN --mount from=` means: never an index (MNT-25).
  std::optional<std::size_t> find_mount_source(std::string_view name, std::size_t user) const;
  /// The target stage: the last one without a name; any letter case. Throws Error with "did you mean" (STG-3).
  std::size_t find_target(const std::optional<std::string>& name) const;
  /// Everything `target` needs, itself included, in file order.
  std::vector<std::size_t> reachable(std::size_t target) const;
  void add_edge(std::size_t user, std::size_t needed);

 private:
  std::vector<StageEdges> edges_;
  std::vector<std::string> names_;   // lower-cased, empty without one
};

}  // namespace imgbuild::parser
