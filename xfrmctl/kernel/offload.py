"""Hardware offload of SAs: what a device can do, what became of a wish, and why.

The kernel offers crypto offload to the device of the route to the peer (``net/xfrm/xfrm_device.c``,
``xfrm_dev_state_add``). It may refuse an SA, with a reason; or take it and, where the device has no IPsec engine or
says EOPNOTSUPP, encrypt itself without a word. So what an SA really has is read back from it.
"""

import fcntl
import socket
from contextlib import suppress
from struct import Struct, pack_into, unpack_from

from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink import structs as s
from xfrmctl.kernel.netlink.route import output_device
from xfrmctl.kernel.netlink.socket import NetlinkError, NetlinkSocket
from xfrmctl.model.address import IPAddress

FEATURE = "esp-hw-offload"
"""The name that drivers with an IPsec engine give it (``net/ethtool/common.c``: NETIF_F_HW_ESP_BIT)."""

_SIOCETHTOOL, _ETHTOOL_GSTRINGS, _ETHTOOL_GSSET_INFO, _ETHTOOL_GFEATURES = 0x8946, 0x1B, 0x37, 0x3A
_ETH_SS_FEATURES = 4
_STRING_BYTES = 32


def features(device: str) -> dict[str, bool]:
    """The features of a network device by name, and whether they are on (``ethtool -k``). Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        info = bytearray(20)
        pack_into("=IIQ", info, 0, _ETHTOOL_GSSET_INFO, 0, 1 << _ETH_SS_FEATURES)
        _ethtool(sock, device, info)
        (count,) = unpack_from("=I", info, 16)
        names = bytearray(12 + count * _STRING_BYTES)
        pack_into("=III", names, 0, _ETHTOOL_GSTRINGS, _ETH_SS_FEATURES, count)
        _ethtool(sock, device, names)
        blocks = (count + 31) // 32
        bits = bytearray(8 + 16 * blocks)
        pack_into("=II", bits, 0, _ETHTOOL_GFEATURES, blocks)
        _ethtool(sock, device, bits)
    found = {}
    for number in range(count):
        start = 12 + number * _STRING_BYTES
        name = bytes(names[start : start + _STRING_BYTES]).split(b"\0")[0].decode("ascii", "replace")
        (active,) = unpack_from("=I", bits, 8 + 16 * (number // 32) + 8)
        found[name] = bool(active >> number % 32 & 1)
    return found


def _ethtool(sock: socket.socket, device: str, command: bytearray) -> None:
    """One ioctl: ``struct ifreq`` with a pointer to the command, which is answered in place."""
    import ctypes  # noqa: PLC0415  needed where somebody wants offload only

    buffer = (ctypes.c_char * len(command)).from_buffer(command)
    request = Struct("=16sQ16x").pack(device.encode()[:15], ctypes.addressof(buffer))
    fcntl.ioctl(sock, _SIOCETHTOOL, request)


class Offload:
    """Finds out why an SA is not offloaded."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(c.NETLINK_ROUTE)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def why_not(self, peer: IPAddress) -> str:
        """What the device towards a peer lacks."""
        device = ""
        with suppress(OSError):
            device = output_device(self._socket, peer)
        if not device:
            return f"there is no route to {peer}"
        try:
            known = features(device)
        except OSError as error:
            return f"{device} does not tell its features: {NetlinkError(error.errno or 0)}"
        if FEATURE not in known:
            return f"this kernel knows no {FEATURE} (CONFIG_XFRM_OFFLOAD)"
        if not known[FEATURE]:
            return f"{device} has no {FEATURE}, or it is off (ethtool -k {device})"
        return f"{device} has {FEATURE} and did not take the SA: the kernel's log may say why"


def offloaded(payload: memoryview) -> str | None:
    """``crypto on DEVICE`` of an SA as the kernel shows it; None where it is not offloaded."""
    raw = s.find_attribute(payload, s.USERSA_INFO.size, c.XFRMA_OFFLOAD_DEV)
    if raw is None:
        return None
    index, flags = s.USER_OFFLOAD.unpack(raw)
    try:
        device = socket.if_indextoname(index)
    except OSError:
        device = f"#{index}"
    return f"{'packet' if flags & c.XFRM_OFFLOAD_PACKET else 'crypto'} on {device}"
