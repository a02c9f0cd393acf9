"""MOBIKE's conversations (RFC 4555 3): INFORMATIONAL exchanges that move an IKE SA and its children to other addresses.

    initiator   HDR, SK { [N(ADDITIONAL_*)+], N(UPDATE_SA_ADDRESSES), [N(NAT_DETECTION_*)], N(COOKIE2) }  -->
                                                <--  HDR, SK { [N(NAT_DETECTION_*)], N(COOKIE2) }     responder
    responder   HDR, SK { N(COOKIE2) }                     is it there that the initiator receives? (3.7)
    responder   HDR, SK { N(ADDITIONAL_*)+ or N(NO_ADDITIONAL_ADDRESSES) }           (3.6)

The initiator of the first IKE SA decides. It moves its CHILD SAs at once when only its own address is new; where the
peer's is new, the answer with COOKIE2 must have come from there first. The responder moves the IKE SA to where
UPDATE_SA_ADDRESSES came from, and its CHILD SAs when COOKIE2 has come back from there, so that nobody can turn a
tunnel on a third party. Answers to questions that were asked on an earlier path decide nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from xfrmctl.ike import lifecycle, natd, path_failures
from xfrmctl.ike.addresses import MAX_ADDRESSES, announcement, peers
from xfrmctl.ike.config import ConnectionConfig
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges import informational
from xfrmctl.ike.mobility import Mobility, Pair
from xfrmctl.ike.moving import carry
from xfrmctl.ike.sa import IkeSa, Request
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.timers import Timer
from xfrmctl.ike.transport import begin, pump, send_again
from xfrmctl.model.address import Endpoint, IPAddress
from xfrmctl.model.effects import FindPaths
from xfrmctl.model.events import PathChanged, PathRefused
from xfrmctl.model.iana import ExchangeType, NotifyType
from xfrmctl.model.sa import Mode
from xfrmctl.wire.message import notify_of
from xfrmctl.wire.payloads import Notify, Payload

SUPPORTED = Notify(NotifyType.MOBIKE_SUPPORTED)
"""Both sides say it in IKE_AUTH, the responder only if the initiator has (RFC 4555 3.1)."""

COOKIE2_LEN = 16
COOKIE2_RANGE = range(8, 65)
"""Octets (RFC 4555 4.2.5)."""

_REFUSALS = (NotifyType.UNACCEPTABLE_ADDRESSES, NotifyType.UNEXPECTED_NAT_DETECTED)


# -- the beginning


def wanted(config: ConnectionConfig) -> bool:
    """Whether we want MOBIKE on a connection; it is for tunnels (RFC 4555 1.2)."""
    return config.mobike and all(child.mode == Mode.TUNNEL for child in config.children)


def offers(core: Core, sa: IkeSa, config: ConnectionConfig) -> bool:
    """Whether we say so on this IKE SA: with NAT traversal only, so that NO_NATS_ALLOWED is never due (3.9)."""
    return wanted(config) and sa.local.port == core.config.nat_t_port


def agree(core: Core, sa: IkeSa, payloads: Sequence[Payload]) -> None:
    """Both ends have said MOBIKE_SUPPORTED; ``payloads`` are the peer's IKE_AUTH message."""
    sa.mobility = Mobility(
        decides=sa.initiator,
        nat_t=sa.local.port == core.config.nat_t_port,
        proven=sa.remote,
        peers=peers(sa.remote.address, payloads),
    )


def established(core: Core, sa: IkeSa) -> None:
    """What is to be learned when an IKE SA has just been made."""
    if sa.mobility is None or sa.config is None:
        return
    if sa.config.alternates:
        core.emit(FindPaths(pairs(sa), sa.serial))
    if sa.mobility.decides and sa.nat_local:
        alive(core, sa)  # how the peer sees us before our NAT changes its mind (3.8)


def pairs(sa: IkeSa) -> tuple[tuple[IPAddress | None, IPAddress], ...]:
    """What to ask the routes for an IKE SA: our addresses to the peer's, the peer's present one first.

    Whoever does not decide stays where the peer has called it, even where the routes would choose another address.
    """
    assert sa.config is not None
    config, theirs = sa.config, sa.mobility.peers if sa.mobility is not None else (sa.remote.address,)
    ours: Sequence[IPAddress | None] = (None,)
    if config.local is not None and not config.roams:
        ours = (config.local, *config.alternates)
    theirs = tuple(sorted(theirs, key=lambda address: address != sa.remote.address))
    found = [(mine, its) for its in theirs for mine in ours if mine is None or mine.version == its.version]
    if sa.mobility is not None and not sa.mobility.decides:
        found.insert(0, (sa.local.address, sa.remote.address))
    return tuple(dict.fromkeys(found))


def inherit(old: IkeSa, new: IkeSa) -> None:
    """A rekeyed IKE SA goes on where its predecessor was; what that one still asks is asked again."""
    new.mobility = old.mobility
    if old.mobility is None:
        return
    new.local, new.remote, new.nat_local, new.nat_remote = old.local, old.remote, old.nat_local, old.nat_remote
    asked = old.outstanding.request if old.outstanding is not None else None
    if isinstance(asked, UpdateAddresses | CheckPath | Announce):
        first(new, type(asked)())


def bearer(core: Core, sa: IkeSa) -> IkeSa:
    """The IKE SA that has the children: a message may come on one that has just been replaced."""
    if sa.state == IkeState.ESTABLISHED:
        return sa
    of_connection = core.of_connection(sa.connection)
    return next((s for s in of_connection if s.mobility is sa.mobility and s.state == IkeState.ESTABLISHED), sa)


def first(sa: IkeSa, request: Request) -> None:
    """Put a conversation before all that wait, and before its like."""
    waiting = [r for r in sa.queue if type(r) is not type(request)]
    sa.queue.clear()
    sa.queue.extend([request, *waiting])


# -- what we say


def _cookie_returned(core: Core, sa: IkeSa, cookie: bytes, payloads: Sequence[Payload]) -> bool:
    """COOKIE2 must come back as it was sent, or else the IKE SA is closed (RFC 4555 3.7)."""
    returned = notify_of(payloads, NotifyType.COOKIE2)
    if returned is not None and returned.data == cookie:
        return True
    lifecycle.close(core, sa, path_failures.wrong_cookie2())
    return False


def detection(core: Core, sa: IkeSa, local: Endpoint, remote: Endpoint) -> tuple[Notify, ...]:
    """NAT detection for a message of an IKE SA between these endpoints (RFC 7296 2.23)."""
    noise = core.entropy(natd.HASH_LEN) if sa.config is not None and sa.config.force_encap else b""
    return natd.notifies(sa.spi_i, sa.spi_r, local, remote, noise)


def learn_nat(
    core: Core, sa: IkeSa, asked: IkeSa, payloads: Sequence[Payload], path: tuple[Endpoint, Endpoint]
) -> None:
    """NAT detection on a new path: ESP goes in UDP from now on, or does not any more."""
    found = natd.detect(payloads, asked.spi_i, asked.spi_r, *path)
    if found is None or sa.config is None or sa.mobility is None or not sa.mobility.nat_t:
        return
    sa.nat_local, sa.nat_remote = found[0] or sa.config.force_encap, found[1]
    if sa.nat_local:
        core.timers.set(sa.serial, Timer.KEEPALIVE, core.now + sa.config.keepalive_s)
    else:
        core.timers.cancel(sa.serial, Timer.KEEPALIVE)


def _tell(core: Core, sa: IkeSa) -> None:
    encap = sa.encap is not None
    core.emit(
        PathChanged(
            connection=sa.connection, ike=sa.name, reqids=sa.reqids, local=sa.local, remote=sa.remote, encap=encap
        )
    )


def settle(core: Core, sa: IkeSa) -> None:
    """The path of the IKE SA is good: the CHILD SAs take it."""
    assert sa.mobility is not None
    news = sa.remote != sa.mobility.proven
    sa.mobility.proven = sa.remote
    if carry(core, sa) or news:
        _tell(core, sa)


@dataclass(slots=True)
class UpdateAddresses:
    """Our decision: from now on this pair of addresses."""

    exchange: ExchangeType = ExchangeType.INFORMATIONAL
    epoch: int = 0
    cookie: bytes = b""
    additional: tuple[IPAddress, ...] = ()

    def build(self, core: Core, sa: IkeSa) -> list[Payload] | None:
        """UPDATE_SA_ADDRESSES, and our other addresses where the peer does not know them."""
        if sa.mobility is None or sa.state != IkeState.ESTABLISHED:
            return None
        self.epoch, self.cookie, self.additional = sa.mobility.epoch, core.entropy(COOKIE2_LEN), additional(sa)
        payloads: list[Payload] = []
        if self.additional != sa.mobility.announced:
            payloads += announcement(self.additional)
        payloads.append(Notify(NotifyType.UPDATE_SA_ADDRESSES))
        if sa.mobility.nat_t:
            payloads += detection(core, sa, sa.local, sa.remote)
        return [*payloads, Notify(NotifyType.COOKIE2, self.cookie)]

    def on_response(self, core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """The peer has moved, or does not want to; what it says to an earlier path is no matter (3.5)."""
        if not _cookie_returned(core, sa, self.cookie, payloads) or sa.mobility is None:
            return
        live = bearer(core, sa)
        sa.mobility.announced = self.additional
        if self.epoch != sa.mobility.epoch:
            return
        refusal = next((n for kind in _REFUSALS if (n := notify_of(payloads, kind)) is not None), None)
        if refusal is not None:
            _refused(core, live, refusal)
            return
        sa.mobility.refused = frozenset()
        learn_nat(core, live, sa, payloads, (live.local, live.remote))
        _remember_mapping(sa.mobility, payloads)
        settle(core, live)


def _refused(core: Core, sa: IkeSa, notify: Notify) -> None:
    """The peer does not want this pair: try another one, or begin anew (RFC 4555 3.5)."""
    assert sa.mobility is not None
    core.emit(
        PathRefused(connection=sa.connection, ike=sa.name, local=sa.local, remote=sa.remote, notify=notify.type.name)
    )
    sa.mobility.refused |= {(sa.local.address, sa.remote.address)}
    left = [pair for pair in sa.mobility.usable if pair not in sa.mobility.refused]
    if left:
        take(core, sa, left[0])
    else:
        lifecycle.close(core, sa, path_failures.addresses_refused(notify.type))


@dataclass(slots=True)
class CheckPath:
    """Whether the peer receives where it says it is (RFC 4555 3.7); until then our CHILD SAs stay where they are."""

    exchange: ExchangeType = ExchangeType.INFORMATIONAL
    epoch: int = 0
    cookie: bytes = b""

    def build(self, core: Core, sa: IkeSa) -> list[Payload] | None:
        """COOKIE2 and nothing else."""
        if sa.mobility is None or sa.state != IkeState.ESTABLISHED:
            return None
        self.epoch, self.cookie = sa.mobility.epoch, core.entropy(COOKIE2_LEN)
        return [Notify(NotifyType.COOKIE2, self.cookie)]

    def on_response(self, core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """It does, unless it has moved on meanwhile."""
        if not _cookie_returned(core, sa, self.cookie, payloads) or sa.mobility is None:
            return
        if self.epoch == sa.mobility.epoch:
            settle(core, bearer(core, sa))


@dataclass(slots=True)
class Announce:
    """Our additional addresses, all of them (RFC 4555 3.6); the one that we send from goes without saying."""

    exchange: ExchangeType = ExchangeType.INFORMATIONAL
    additional: tuple[IPAddress, ...] = ()

    def build(self, core: Core, sa: IkeSa) -> list[Payload] | None:
        """ADDITIONAL_*_ADDRESS of each, or NO_ADDITIONAL_ADDRESSES."""
        if sa.mobility is None or sa.state != IkeState.ESTABLISHED:
            return None
        self.additional = additional(sa)
        return [*announcement(self.additional)]

    def on_response(self, core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """The peer knows."""
        if sa.mobility is not None:
            sa.mobility.announced = self.additional


@dataclass(slots=True)
class Alive:
    """A liveness check that shows how the peer sees us: the NAT before us may have forgotten its mapping (3.8)."""

    exchange: ExchangeType = ExchangeType.INFORMATIONAL
    epoch: int = 0

    def build(self, core: Core, sa: IkeSa) -> list[Payload] | None:
        """NAT detection."""
        if sa.mobility is None:
            return []
        self.epoch = sa.mobility.epoch
        return [*detection(core, sa, sa.local, sa.remote)]

    def on_response(self, core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """Another hash than last time: the peer must be told to answer elsewhere."""
        if sa.mobility is None or self.epoch != sa.mobility.epoch:
            return
        if _remember_mapping(sa.mobility, payloads):
            sa.mobility.epoch += 1
            live = bearer(core, sa)
            first(live, UpdateAddresses())
            pump(core, live)


def _remember_mapping(mobility: Mobility, payloads: Sequence[Payload]) -> bool:
    """How the peer sees us; whether that has changed."""
    seen = notify_of(payloads, NotifyType.NAT_DETECTION_DESTINATION_IP)
    if seen is None:
        return False
    before, mobility.mapping = mobility.mapping, seen.data
    return bool(before) and before != seen.data


def alive(core: Core, sa: IkeSa) -> None:
    """Ask whether the peer lives (RFC 7296 2.4); behind a NAT of ours, whether it still sees us where it did."""
    mobility = sa.mobility
    if mobility is None or not (mobility.decides and mobility.nat_t and sa.nat_local):
        informational.alive(core, sa)
    elif sa.outstanding is None and not sa.queue:
        begin(core, sa, Alive())


def additional(sa: IkeSa) -> tuple[IPAddress, ...]:
    """Our addresses that have a route to the peer, apart from the one in use."""
    assert sa.mobility is not None
    found = dict.fromkeys(ours for ours, _ in sa.mobility.usable if ours != sa.local.address)
    return tuple(found)[:MAX_ADDRESSES]


# -- what we decide


def take(core: Core, sa: IkeSa, pair: Pair) -> None:
    """Decide for a pair of addresses: IKE uses it at once, and says so as soon as the window allows (RFC 4555 3.5)."""
    assert sa.mobility is not None
    ours, theirs = pair
    mobility, same_peer = sa.mobility, theirs == sa.remote.address
    mobility.epoch += 1
    sa.local = Endpoint(ours, sa.local.port)
    if not same_peer:
        sa.remote = Endpoint(theirs, core.config.nat_t_port if mobility.nat_t else core.config.ike_port)
    elif carry(core, sa):
        _tell(core, sa)
    first(sa, UpdateAddresses())
    send_again(core, sa)


def take_detour(core: Core, sa: IkeSa, path: tuple[Endpoint, Endpoint]) -> None:
    """An answer has come on another path than the one in use, on which there was none (RFC 4555 3.10)."""
    take(core, bearer(core, sa), (path[0].address, path[1].address))


def leave_from(core: Core, sa: IkeSa, pair: Pair) -> None:
    """Our own address is gone and the choice is the peer's: speak from another one, and let it decide (RFC 4555 3.5).

    The CHILD SAs go along where only our address changes: from the old one nothing can be sent any more.
    """
    assert sa.mobility is not None
    ours, theirs = pair
    same_peer = theirs == sa.remote.address
    sa.local = Endpoint(ours, sa.local.port)
    if not same_peer:
        sa.remote = Endpoint(theirs, sa.remote.port)
    sa.mobility.epoch += 1
    if same_peer and sa.remote == sa.mobility.proven and carry(core, sa):
        _tell(core, sa)
    first(sa, Announce())
    send_again(core, sa)
