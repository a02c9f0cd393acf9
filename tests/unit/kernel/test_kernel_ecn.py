"""ECN in tunnels is the kernel's business (``xfrm4_mode_tunnel_input``); ours is not to switch it off."""

import struct

import pytest

from tests.unit.kernel.kernel_values import GCM_KEYS, sa
from xfrmctl.kernel.netlink import structs
from xfrmctl.kernel.netlink.sa import new_sa
from xfrmctl.model.sa import Mode

XFRM_STATE_NOECN, AF_UNSPEC = 1, 32


@pytest.mark.rfc("7296", "2.24")
@pytest.mark.parametrize("mode", list(Mode))
def test_tunnels_of_the_kernel_keep_ecn(mode: Mode) -> None:
    payload = bytes(new_sa(sa(mode=mode), GCM_KEYS).payload)
    flags = payload[structs.USERSA_INFO.size - 8 : structs.USERSA_INFO.size]
    (found,) = struct.unpack_from("B", flags, 0)
    assert not found & XFRM_STATE_NOECN
    assert bool(found & AF_UNSPEC) == (mode is Mode.TUNNEL), "this is where the flags are"
