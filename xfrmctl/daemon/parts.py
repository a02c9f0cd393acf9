"""What the reconciler knows of each reqid: what is to stand, and where that is from."""

from dataclasses import dataclass

from xfrmctl.daemon.fragmentation import Squeeze
from xfrmctl.daemon.intent import Established, Sizes
from xfrmctl.ike.sa import ChildSa
from xfrmctl.kernel.desired import Desired
from xfrmctl.model.address import IPAddress
from xfrmctl.model.path import Path

OuterPair = tuple[IPAddress | None, IPAddress]
"""Local and remote address of a peer; between them lies the path whose MTU counts."""


@dataclass(slots=True)
class Part:
    """What one reqid wants to stand, the sizes behind it, and the path that they are from.

    ``way`` is where an established child goes, ``squeeze`` says that it has too little room for IPv6.
    """

    desired: Desired
    sizes: Sizes
    path: OuterPair | None
    way: Path | None = None
    squeeze: Squeeze | None = None


def established_of(child: ChildSa) -> Established:
    """What negotiation has made of a child, with its own addresses: the IKE SA may be ahead of it (RFC 4555 3.5)."""
    return Established(
        child.reqid,
        child.suite,
        child.inbound.destination,
        child.outbound.destination,
        child.encap is not None,
        child.mode,
        child.local_ts,
        child.remote_ts,
        child.encap.destination_port if child.encap is not None else 0,
        child.df,
    )
