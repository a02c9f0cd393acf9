"""CHILD SAs follow their IKE SA to other addresses and ports.

Without MOBIKE there is one reason for it: a peer behind a NAT turns up elsewhere because the NAT has forgotten its
mapping (RFC 7296 2.23). Whoever is not behind a NAT itself follows the peer's last authentic packet, IKE or ESP.
Without a NAT, or behind one of our own as initiator, addresses stay as they are: following would let anybody who can
send a captured packet from elsewhere lead us there, and moving on purpose is MOBIKE's business (``ike.mobike``).
Answers go to where the request came from in any case (2.11).
"""

from collections.abc import Iterator
from dataclasses import replace

from xfrmctl.ike.core import Core
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.model.address import Endpoint
from xfrmctl.model.effects import MoveSas
from xfrmctl.model.events import PeerMoved
from xfrmctl.model.sa import Direction, Encap, Mode, SaMove


def follow(core: Core, sa: IkeSa, local: Endpoint, remote: Endpoint) -> None:
    """An authentic packet of the peer has come from ``remote``, which is new.

    With MOBIKE the caller asks only for ESP: IKE messages move nothing by themselves (RFC 4555 3.8).
    """
    if sa.established_at is None:
        sa.local, sa.remote = local, remote  # the initiator floats to the NAT traversal port within the handshake
        return
    if not sa.nat_remote or (sa.nat_local and sa.initiator) or local.address != sa.local.address:
        return
    before, sa.local, sa.remote = sa.remote, local, remote
    carry(core, sa)
    core.emit(PeerMoved(connection=sa.connection, ike=sa.name, reqids=sa.reqids, old=before, new=remote))


def carry(core: Core, sa: IkeSa) -> bool:
    """Put every CHILD SA on the path of its IKE SA, in UDP or not as NAT detection has it; whether any was not."""
    moves = tuple(move for child in sa.children if child.installed for move in _moved(core, sa, child))
    if moves:
        core.emit(MoveSas(moves))
    return bool(moves)


def _moved(core: Core, sa: IkeSa, child: ChildSa) -> Iterator[SaMove]:
    """Both SAs of a child. In transport mode the addresses are what is protected: there only ports can change."""
    ours, theirs, out = sa.local.address, sa.remote.address, sa.encap
    elsewhere = (child.inbound.destination, child.outbound.destination) != (ours, theirs)
    if (not elsewhere and child.encap == out) or (elsewhere and child.mode == Mode.TRANSPORT):
        return
    child.encap = out
    back = Encap(out.destination_port, out.source_port) if out is not None else None
    arriving = SaMove(id=child.inbound, direction=Direction.IN, source=theirs, destination=ours, encap=back)
    leaving = SaMove(id=child.outbound, direction=Direction.OUT, source=ours, destination=theirs, encap=out)
    yield arriving
    if child.pending_outbound is None:
        yield leaving
    else:
        kernel_sa, keys = child.pending_outbound
        child.pending_outbound = replace(kernel_sa, source=ours, destination=theirs, encap=out), keys
    for known in (child.inbound, child.outbound):
        core.children.pop(known, None)
    child.inbound, child.outbound = arriving.new_id, leaving.new_id
    core.children[child.inbound] = core.children[child.outbound] = (sa, child)
