"""What a peer asks by MOBIKE (RFC 4555 3.5-3.9): its part of an INFORMATIONAL request, before and after the answer.

Answers go to where the request came from in any case. UPDATE_SA_ADDRESSES means something only to whoever does not
decide itself; a list of addresses replaces the one before.
"""

from collections.abc import Sequence

from xfrmctl.ike.addresses import announces, is_host, peers
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges import informational
from xfrmctl.ike.exchanges.mobike import (
    CheckPath,
    bearer,
    detection,
    first,
    learn_nat,
    pairs,
    settle,
    take,
)
from xfrmctl.ike.sa import IkeSa
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.transport import pump, send_again
from xfrmctl.model.address import Endpoint
from xfrmctl.model.effects import FindPaths
from xfrmctl.model.iana import NotifyType
from xfrmctl.model.sa import Mode
from xfrmctl.wire.message import notify_of
from xfrmctl.wire.payloads import Notify, Payload

COOKIE2_RANGE = range(8, 65)
"""Octets (RFC 4555 4.2.5)."""


def on_request(core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
    """An INFORMATIONAL request: MOBIKE's part of it before the answer, what follows from it afterwards."""
    mobility, path = sa.mobility, sa.asked_from
    if mobility is None or path is None:
        informational.on_request(core, sa, payloads)
        return
    reply: list[Payload] = []
    update = notify_of(payloads, NotifyType.UPDATE_SA_ADDRESSES) is not None and not mobility.decides
    refusal = _refusal(sa, payloads, path) if update else None
    if refusal is not None:
        reply.append(Notify(refusal))
    elif notify_of(payloads, NotifyType.NAT_DETECTION_DESTINATION_IP) is not None and mobility.nat_t:
        reply += detection(core, sa, *path)
    cookie = notify_of(payloads, NotifyType.COOKIE2)
    if cookie is not None and len(cookie.data) in COOKIE2_RANGE:
        reply.append(Notify(NotifyType.COOKIE2, cookie.data))
    informational.on_request(core, sa, payloads, reply)
    live = bearer(core, sa)
    if live.state != IkeState.ESTABLISHED:
        return
    if announces(payloads):
        mobility.peers = peers(path[1].address, payloads)
        if mobility.decides:
            _heard_of_addresses(core, live, path)
    if update and refusal is None:
        _move(core, live, sa, payloads, path)


def _refusal(sa: IkeSa, payloads: Sequence[Payload], path: tuple[Endpoint, Endpoint]) -> NotifyType | None:
    """Why the peer may not be where it says it is."""
    local, remote = path
    strict = notify_of(payloads, NotifyType.NO_NATS_ALLOWED)
    seen = remote.address.packed + local.address.packed + remote.port.to_bytes(2, "big") + local.port.to_bytes(2, "big")
    if strict is not None and strict.data != seen:
        return NotifyType.UNEXPECTED_NAT_DETECTED
    if not is_host(remote.address) or remote.address == local.address:
        return NotifyType.UNACCEPTABLE_ADDRESSES
    if any(child.mode == Mode.TRANSPORT for child in sa.children):
        return NotifyType.UNACCEPTABLE_ADDRESSES
    return None


def _heard_of_addresses(core: Core, sa: IkeSa, path: tuple[Endpoint, Endpoint]) -> None:
    """The peer's addresses have changed: if the one in use is not among them, go where it speaks from."""
    assert sa.mobility is not None
    if sa.remote.address not in sa.mobility.peers:
        take(core, sa, (path[0].address, path[1].address))
    core.emit(FindPaths(pairs(sa), sa.serial))


def _move(core: Core, sa: IkeSa, asked: IkeSa, payloads: Sequence[Payload], path: tuple[Endpoint, Endpoint]) -> None:
    """UPDATE_SA_ADDRESSES: the IKE SA is where the request came from, its children when that is proven (3.5)."""
    assert sa.mobility is not None
    elsewhere = path != (sa.local, sa.remote)
    sa.local, sa.remote = path
    sa.mobility.epoch += 1
    learn_nat(core, sa, asked, payloads, path)
    if sa.remote == sa.mobility.proven:
        settle(core, sa)
    else:
        first(sa, CheckPath())
    if elsewhere:
        send_again(core, sa)
    else:
        pump(core, sa)
