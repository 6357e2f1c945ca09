#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/thread_pool.h"
#include "base/timestamp.h"
#include "base/unique_fd.h"
#include "builder/fuse_marks.h"
#include "oci/file_tree.h"
#include "oci/layer_entry.h"
#include "oci/node_metadata.h"

namespace imgbuild::builder {

class TreeStamps;

/// A whole file system in place of an upper directory: what is not there was deleted (OVL-29).
struct WholeTree {
  const TreeStamps* before = nullptr;  ///< what is unchanged since need not be compared; may be missing
};

struct DiffOptions {
  /// Trusted: the marks of an overlay made by root. User: those of an overlay in a user namespace, where also
  /// empty files stand for the devices nobody can make there.
  oci::OverlayFlavour flavour = oci::OverlayFlavour::trusted;
  std::optional<WholeTree> whole;
  bool of_fuse = false;  ///< the upper directory was written by fuse-overlayfs (OVL-40)
  /// Owners other than root cannot exist here; kOwnerXattr or, without it, the lower layers know them
  /// (RLS-12).
  bool noted_owners = false;
  /// The layer's times are clamped to this; a file that differs only beyond it is the same.
  std::optional<std::int64_t> clamp_mtime;
  std::uint64_t max_file_size = std::uint64_t{64} << 30;  ///< apparent (OVL-26)
  /// Opens the bytes of a regular file of the lower layers, to compare it with its copy. Needed only for
  /// copies that differ in nothing else. Called by several threads at once where there is a pool.
  std::function<UniqueFd(const oci::ContentOrigin&)> open_lower;
  ThreadPool* pool = nullptr;  ///< helps when there is much; may be missing
};

struct UpperDiff {
  std::vector<FuseMarks> fuse_marks;  ///< what settle_fuse_marks() has to do before the kernel may read it
  std::vector<oci::PendingEntry> entries;  ///< complete and in the order of a layer
  /// The upper directory shows the same as the layer made of `entries`, so it may stand for it (OVL-11).
  bool upper_is_exact = true;
  std::vector<std::string> skipped_sockets;  ///< a layer has no sockets, nor devices 0:0
  std::vector<std::string> linked;           ///< names of inodes with several names, changed ones only
  /// Directories whose time changed and nothing else, so that the layer does not tell, and their time below.
  std::vector<std::pair<std::string, Timestamp>> untold_times;
};

/// The upper directory holds what no overlay of ours makes, such as a moved directory: only the whole file
/// system tells what it means (OVL-10).
class ForeignForm : public Error {
 public:
  explicit ForeignForm(std::string message) : Error(std::move(message), ExitCode::system) {}
};

/// What the upper directory of an overlay changes in `lower`, the merged tree below it (OVL-20…27,
/// LAY-23…38): copies that changed nothing are left out, parents are in, opaque directories become whiteouts
/// of what they hide. No process may write into `upper` any more; the openers keep it open. Throws Error for
/// what no layer can hold: a name starting with `.wh.`, a file that is too large, a path that is too long.
/// Throws ForeignForm as well.
UpperDiff diff_upper(std::shared_ptr<const RootDir> upper, const oci::FileTree& lower,
                     const DiffOptions& options);

/// Gives the directories in `found.untold_times` the time they have below. Before `upper` stands for its
/// layer: or else a later command would copy that time into its own layer here, and the one below where the
/// layer was extracted. Throws SystemError.
void forget_untold_times(const RootDir& upper, const UpperDiff& found);

}  // namespace imgbuild::builder
