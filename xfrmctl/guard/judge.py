"""The verdict on one ICMP error: whether the kernel may learn a path MTU from it, and why not.

========== ==========================================================================================================
check      what a forger would have to know or do
========== ==========================================================================================================
names      the quoted destination is a peer, the quoted source our address for it, the UDP ports ours
protocol   it quotes what we send to peers: ESP, AH, ESP in UDP; all else is dropped (UDP, TCP, GRE, echo: the
           kernel believes some of these without any check). So are errors about our own IKE, which come for each
           probe that is too large: what a forger needs for one is no secret, and the probe tells by itself
SPI        an outbound SA to that peer has it, or had it a moment ago: 32 bits that only who is on the path sees
sequence   that SA has sent this number recently
form       no options, no extension headers, no fragment, DF set: as our packets are
size       the quoted packet is larger than the MTU; floor <= MTU < what we believe
rate       so many a second for one peer
========== ==========================================================================================================

A router older than RFC 1191 reports an MTU of 0. Linux would make 552 of it; so that error is dropped, too, but handed
on as a report: the path-MTU engine searches by itself. So it is with one that rewrites the errors of IPv6.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from xfrmctl.guard.quote import AH, ESP, UDP, Quote, read
from xfrmctl.guard.table import Outbound, Table
from xfrmctl.model.address import IKE_PORT, IPAddress
from xfrmctl.model.path import Path
from xfrmctl.model.sa import SaId

FLOOR = {4: 576, 6: 1280}
"""No report is believed below: what every IPv4 host takes (RFC 791 3.2), what every IPv6 link carries (RFC 8200 5)."""

MAX_MTU = 65535
"""The belief where nobody has one yet: any report lowers it."""

RECENT = 1 << 20
"""How many packets back an error may be about: 1.2 s of full-size packets at 10 Gbit/s."""

RATE_PER_S, BURST = 5.0, 10
"""Accepted errors for one peer. The path-MTU engine confirms each with a probe."""

Oracle = Callable[[SaId], int | None]
"""The last sequence number that an outbound SA of the kernel has sent, None for one that is not there."""


class Reason(Enum):
    """Why a verdict is what it is; the value is the metrics label."""

    ACCEPTED = "accepted"
    NOT_A_PEER = "not_a_peer"
    MALFORMED = "malformed"
    NOT_OUR_ADDRESS = "not_our_address"
    PROTOCOL = "protocol"
    PORTS = "ports"
    IKE = "ike"
    SHORT_QUOTE = "short_quote"
    UNKNOWN_SPI = "unknown_spi"
    SEQUENCE = "sequence"
    HEADERS = "headers"
    FRAGMENT = "fragment"
    MAY_FRAGMENT = "may_fragment"
    FITS = "fits"
    BELOW_FLOOR = "below_floor"
    NOT_LOWER = "not_lower"
    NO_MTU = "no_mtu"
    RATE = "rate"

    __hash__ = object.__hash__


_PASSES = (Reason.ACCEPTED, Reason.NOT_A_PEER)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict. ``reporter`` has sent the error, ``peer`` is whom it names; both None where it cannot be read.

    ``path`` is set where everything but the reported MTU proves that a packet of ours got lost on it: ``mtu`` (0 where
    the router does not say) and ``quoted``, the size of that packet, are then worth acting upon.
    """

    reason: Reason
    family: int = 0
    reporter: IPAddress | None = None
    peer: IPAddress | None = None
    path: Path | None = None
    mtu: int = 0
    quoted: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the kernel may see it."""
        return self.reason in _PASSES


class Judge:
    """Judges errors by the table that is in force. One thread judges; any thread may replace the table."""

    def __init__(self, oracle: Oracle, table: Table | None = None) -> None:
        self.table = table if table is not None else Table()
        self._oracle = oracle
        self._turns: dict[IPAddress, float] = {}

    def judge(self, packet: bytes, now: float) -> Judgement:
        """The verdict on an IP packet; never raises. ``now`` is monotonic seconds."""
        table = self.table
        quote = read(packet)
        if quote is None:
            return Judgement(Reason.MALFORMED, packet[0] >> 4 if packet else 0)
        if quote.remote not in table.peers:
            return _told(quote, Reason.NOT_A_PEER)
        found = _which(quote, table, now)
        if isinstance(found, Reason):
            return _told(quote, found)
        outbound, sequence = found
        reason = _form(quote, outbound) or self._recent(outbound, sequence)
        reason = reason or _size(quote, table.mtus.get(outbound.path))
        if reason is not None and reason is not Reason.NO_MTU:
            return _told(quote, reason)
        if not self._in_turn(quote.remote, now):
            return _told(quote, Reason.RATE)
        return _told(quote, reason or Reason.ACCEPTED, outbound.path)

    def _recent(self, outbound: Outbound, sequence: int) -> Reason | None:
        """Whether the SA has sent that number recently (with ESN: its low 32 bits, RFC 4303 2.2.1)."""
        if outbound.until is not None:
            return None  # it has left the kernel, and its counter with it
        sent = self._oracle(outbound.id)
        if sent is None:
            return Reason.UNKNOWN_SPI
        behind = (sent - sequence) & 0xFFFFFFFF
        return None if behind < min(RECENT, sent) else Reason.SEQUENCE

    def _in_turn(self, peer: IPAddress, now: float) -> bool:
        """Whether the peer is within its rate; a theoretical arrival time for each that was ever lowered."""
        step = 1.0 / RATE_PER_S
        turn = max(self._turns.get(peer, 0.0), now - BURST * step)
        if turn > now - step + 1e-9:
            return False
        if len(self._turns) > 2 * len(self.table.peers) + 64:
            self._turns = {p: at for p, at in self._turns.items() if p in self.table.peers}
        self._turns[peer] = turn + step
        return True


def _told(quote: Quote, reason: Reason, path: Path | None = None) -> Judgement:
    return Judgement(reason, quote.version, quote.reporter, quote.remote, path, quote.mtu, quote.length)


def _which(quote: Quote, table: Table, now: float) -> tuple[Outbound, int] | Reason:
    """The SA that the quoted packet belongs to and its sequence number, or why there is none."""
    if quote.protocol not in (ESP, AH, UDP):
        return Reason.PROTOCOL
    if quote.fragment:
        return Reason.FRAGMENT
    payload, at, protocol = quote.payload, 0, quote.protocol
    if protocol == UDP:
        if _is_ike(payload):
            return Reason.IKE
        at, protocol = 8, ESP
    elif protocol == AH:
        at = 4
    if len(payload) < at + 8:
        return Reason.SHORT_QUOTE
    spi, sequence = int.from_bytes(payload[at : at + 4], "big"), int.from_bytes(payload[at + 4 : at + 8], "big")
    found = table.find(quote.remote, protocol, spi, now)
    if found is None or (found.encap is None) == (quote.protocol == UDP):
        return Reason.UNKNOWN_SPI
    if found.local != quote.local:
        return Reason.NOT_OUR_ADDRESS
    if found.encap is not None:
        ports = int.from_bytes(payload[0:2], "big"), int.from_bytes(payload[2:4], "big")
        if ports != (found.encap.source_port, found.encap.destination_port):
            return Reason.PORTS
    return found, sequence


def _is_ike(udp: bytes) -> bool:
    """Whether a quoted UDP packet is IKE's: by its port, or the non-ESP marker (RFC 3948 2.2)."""
    return IKE_PORT in (int.from_bytes(udp[0:2], "big"), int.from_bytes(udp[2:4], "big")) or udp[8:12] == bytes(4)


def _form(quote: Quote, outbound: Outbound) -> Reason | None:
    """Whether the quoted packet looks as ours do."""
    if not quote.plain:
        return Reason.HEADERS
    if not quote.dont_fragment:
        return Reason.MAY_FRAGMENT
    udp_length = int.from_bytes(quote.payload[4:6], "big")
    if outbound.encap is not None and udp_length != quote.length - (20 if quote.version == 4 else 40):
        return Reason.MALFORMED
    return None


def _size(quote: Quote, believed: int | None) -> Reason | None:
    """Whether the figures make sense, and tell anything new."""
    mtu = quote.mtu
    if mtu == 0:
        return Reason.NO_MTU if believed is None or quote.length <= believed else Reason.NOT_LOWER
    if mtu < FLOOR[quote.version]:
        return Reason.BELOW_FLOOR
    if quote.length <= mtu:
        return Reason.FITS
    return None if mtu < (believed if believed is not None else MAX_MTU) else Reason.NOT_LOWER
