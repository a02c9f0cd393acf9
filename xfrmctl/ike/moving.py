"""A peer behind a NAT turns up at another address or port: the NAT has forgotten its mapping (RFC 7296 2.23).

Whoever is not behind a NAT itself follows the peer's last authentic packet, IKE or ESP. Without a NAT, or behind one
of our own as initiator, addresses stay as they are: following would let anybody who can send a captured packet from
elsewhere lead us there, and moving on purpose is MOBIKE's business (RFC 4555). Answers go to where the request came
from in any case.
"""

from xfrmctl.ike.core import Core
from xfrmctl.ike.sa import IkeSa
from xfrmctl.model.address import Endpoint


def follow(core: Core, sa: IkeSa, local: Endpoint, remote: Endpoint) -> None:
    """An authentic packet of the peer has come from ``remote``, which is new."""
    if sa.established_at is None:
        sa.local, sa.remote = local, remote  # the initiator floats to the NAT traversal port within the handshake
        return
    if not sa.nat_remote or (sa.nat_local and sa.initiator):
        return
    sa.local, sa.remote = local, remote
