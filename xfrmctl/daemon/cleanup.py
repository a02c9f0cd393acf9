"""``xfrmctl cleanup``: every trace of us leaves the kernel, also after a crash. Needs no memory of what there was."""

from xfrmctl.kernel.ports import CleanupReport
from xfrmctl.kernel.system import LinuxKernel


def main() -> CleanupReport:
    """Remove SAs, policies (blocks, too: traffic may then leave in clear), interfaces, routes, chains and sets.

    Raises KernelRefusal where the kernel has no XFRM or we may not use it.
    """
    kernel = LinuxKernel()
    try:
        return kernel.cleanup()
    finally:
        kernel.close()
