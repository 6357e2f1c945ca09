"""A mount namespace of its own for a test file: what it mounts is not seen outside, nor what others mount inside."""
import os
import shutil
import sys

from harness import need_root, skip

PRIVATE = "IMGBUILD_TEST_PRIVATE_MOUNTS"


def enter_private_mounts():
    """Starts this file again in a mount namespace of its own, so that nothing it mounts or hides is seen outside."""
    if os.geteuid() != 0 or os.environ.get(PRIVATE) or not shutil.which("unshare"):
        return
    os.environ[PRIVATE] = os.readlink("/proc/self/ns/mnt")
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])


def need_private_mounts():
    need_root()
    if os.environ.get(PRIVATE) in (None, os.readlink("/proc/self/ns/mnt")):
        skip("needs a mount namespace of its own (unshare)")
