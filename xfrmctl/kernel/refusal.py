"""The kernel's errnos in an operator's words: cause and cure."""

from errno import EACCES, EEXIST, EINVAL, ENOBUFS, ENODEV, ENOENT, ENOMEM, ENOSYS, EOPNOTSUPP, EPERM
from errno import EPROTONOSUPPORT as EPROTO

from xfrmctl.kernel.netlink.socket import NetlinkError
from xfrmctl.model.errors import KernelRefusal

_WORDS: dict[int, str] = {
    EPERM: "permission denied: run as root or with CAP_NET_ADMIN",
    EACCES: "permission denied: run as root or with CAP_NET_ADMIN",
    ENOBUFS: "the kernel has no buffer space left: free memory, or raise net.core.rmem_max",
    ENOMEM: "the kernel is out of memory",
    EPROTO: "the kernel cannot do this protocol: load the modules esp4 and esp6 (modprobe esp4 esp6)",
    EOPNOTSUPP: "this kernel does not support the request",
    ENODEV: "there is no such device",
    ENOENT: "there is no such object",
}


def refusal(operation: str, subject: str, error: NetlinkError, words: dict[int, str] | None = None) -> KernelRefusal:
    """A KernelRefusal about ``subject``. ``words`` are the meanings that errnos have for this operation."""
    text = (words or {}).get(error.code) or _WORDS.get(error.code) or str(error)
    if error.message and error.message not in text:
        text += f" (kernel: {error.message})"
    return KernelRefusal(operation, error.code, f"{subject}: {text}")


def sa_words(algorithm: str) -> dict[int, str]:
    """What errnos mean when an SA is installed (``xfrm_add_sa``)."""
    return {
        EEXIST: "this SPI is already in use for the destination: choose another",
        ENOSYS: f"the kernel has no algorithm {algorithm}: load or build its crypto module",
        ENOENT: f"the kernel has no algorithm {algorithm}: load or build its crypto module",
        EINVAL: "the kernel finds the SA invalid",
    }
