"""What MOBIKE (RFC 4555) knows of one IKE SA, as data. A rekeyed IKE SA inherits it from the one it replaces.

The two roles stay with whoever began the *first* IKE SA (RFC 4555 1.3): the initiator decides which pair of addresses
is used, the responder only says which addresses it has.
"""

from dataclasses import dataclass

from xfrmctl.model.address import Endpoint, IPAddress

Pair = tuple[IPAddress, IPAddress]
"""Our address and the peer's."""

PROBE_FROM = 3
"""The transmission of a request from which on it goes over all paths: the one in use seems to be dead."""


@dataclass(slots=True)
class Mobility:
    """``decides``: the choice of path is ours. ``nat_t``: both ends do NAT traversal, and are on its port.

    ``peers`` are all addresses of the peer, the one it last spoke from first. ``usable`` are the pairs that our routes
    allow, in the order in which we would take them; ``stranded`` is set while there is none. ``announced`` are our
    additional addresses as the peer knows them. ``epoch`` counts the changes of path: an answer to a question from an
    earlier epoch decides nothing (3.5). ``proven`` is where the peer has last been shown to receive (3.7).
    ``refused`` are pairs that the peer does not accept. ``mapping`` is how the peer last saw us (3.8).
    """

    decides: bool
    nat_t: bool
    proven: Endpoint
    peers: tuple[IPAddress, ...]
    usable: tuple[Pair, ...] = ()
    stranded: bool = False
    announced: tuple[IPAddress, ...] = ()
    epoch: int = 0
    refused: frozenset[Pair] = frozenset()
    mapping: bytes = b""

    def detours(self, local: Endpoint, remote: Endpoint, attempt: int) -> list[tuple[Endpoint, Endpoint]]:
        """Other paths that the transmission number ``attempt`` of a request goes over as well (RFC 4555 3.10)."""
        if not self.decides or attempt < PROBE_FROM:
            return []
        return [
            (Endpoint(ours, local.port), Endpoint(theirs, remote.port))
            for ours, theirs in self.usable
            if (ours, theirs) != (local.address, remote.address) and (ours, theirs) not in self.refused
        ]
