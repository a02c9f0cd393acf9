"""What one step shares: configuration, entropy, the ordered outbox, the tables of SAs, the timers, the tokens.

``now`` is monotonic seconds, set by the engine at the start of each input. Exchanges work on this object and on an
IKE SA; they never see the engine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from xfrmctl.crypto.cookie import CookieJar
from xfrmctl.crypto.entropy import Entropy
from xfrmctl.ike.bucket import TokenBucket
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, EngineConfig
from xfrmctl.ike.connection import Connection
from xfrmctl.ike.fetching import Fetching
from xfrmctl.ike.fragments import Reassembly
from xfrmctl.ike.peers import Peers
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import HALF_OPEN, ChildState, IkeState
from xfrmctl.ike.timers import Timer, TimerQueue
from xfrmctl.model.address import Endpoint, IPAddress
from xfrmctl.model.effects import DeleteSas, Effect, InstallSas, ReportProbe, Token
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import ChildSaInstalled, ChildSaRemoved, DatagramDropped, Event, IkeSaClosed
from xfrmctl.model.failure import Failure
from xfrmctl.model.path import ProbeOutcome
from xfrmctl.model.sa import DfPolicy, KernelSa, SaId, SaKeys

RETIRE_S = 5.0
"""How long the inbound SA of a replaced CHILD SA goes on receiving."""

UNSOLICITED_PER_S, UNSOLICITED_BURST = 10.0, 20.0
"""Unauthenticated answers to messages that belong to no IKE SA."""

NONCE_LEN = 32
"""At least half the key size of the PRF (RFC 7296 2.10); 32 bytes serve SHA2-512 too."""

MIN_SPI = 0x100
"""SPIs 1-255 are reserved by IANA (RFC 4303 2.1)."""


Wall = Callable[[], float]
"""Seconds since the epoch; only the validity of certificates is measured by them."""


class Step(Protocol):
    """What waits for the kernel's answer."""

    def done(self, core: "Core", sa: IkeSa, refusal: KernelRefusal | None) -> None:
        """The kernel has taken the SAs, or refused them."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step that waits, and the SAs of which child the kernel was asked for."""

    child: ChildSa
    step: Step
    sas: tuple[KernelSa, ...]


class Core:
    """State of the engine; plain tables, no behaviour beyond keeping them consistent."""

    def __init__(self, config: EngineConfig, entropy: Entropy, wall: Wall) -> None:
        self.configure(config)
        self.entropy = entropy
        self.wall = wall
        self.now = 0.0
        self.outbox: list[Effect | Event] = []
        self.timers = TimerQueue()
        self.cookies = CookieJar(entropy)
        self.reassembly = Reassembly()
        self.unsolicited = TokenBucket(UNSOLICITED_PER_S, UNSOLICITED_BURST)
        self.connections: dict[str, Connection] = {name: Connection(name) for name in config.connections}
        self.sas: dict[int, IkeSa] = {}
        self.by_spi: dict[bytes, IkeSa] = {}
        self.by_init: dict[tuple[bytes, Endpoint], IkeSa] = {}
        self.half_open: dict[IPAddress, int] = {}
        self.half_open_total = 0
        self.waiting: dict[Token, Waiting] = {}
        self.fetching = Fetching()
        self.children: dict[SaId, tuple[IkeSa, ChildSa]] = {}
        self.by_reqid: dict[int, list[ChildSa]] = {}
        self.clear_df: frozenset[int] = frozenset()
        self.peers = Peers()
        self.explained: dict[str, float] = {}
        """Connections that somebody debugs, and until when, monotonic seconds: see :mod:`xfrmctl.ike.story`."""
        self._serial = 0
        self._token = 0

    def configure(self, config: EngineConfig) -> None:
        """Take a configuration and index it: a peer or an acquire finds its connection without a walk."""
        self.config = config
        self.configured: dict[int, tuple[str, ChildConfig]] = {}
        self.by_peer: dict[IPAddress | None, list[ConnectionConfig]] = {}
        for name, connection in config.connections.items():
            self.by_peer.setdefault(connection.remote, []).append(connection)
            for child in connection.children:
                self.configured[child.reqid] = (name, child)

    def outer_df(self, config: ChildConfig, reqid: int) -> DfPolicy:
        """What a new outbound SA does with DF; see :mod:`xfrmctl.ike.mild`."""
        return DfPolicy.CLEAR if config.df is DfPolicy.COPY and reqid in self.clear_df else config.df

    # -- outbox

    def emit(self, item: Effect | Event) -> None:
        """Queue an effect or an event; the order is kept."""
        self.outbox.append(item)

    def drop(self, remote: Endpoint, reason: str, detail: str = "") -> None:
        """Account for a datagram that is thrown away."""
        self.emit(DatagramDropped(remote=remote, reason=reason, detail=detail))

    # -- tables of SAs

    def new_spi(self) -> bytes:
        """An IKE SPI of ours that is not in use; never zero (RFC 7296 3.1)."""
        while True:
            spi = self.entropy(8)
            if any(spi) and spi not in self.by_spi:
                return spi

    def new_nonce(self) -> bytes:
        """A nonce for one exchange."""
        return self.entropy(NONCE_LEN)

    def new_child_spi(self) -> int:
        """An ESP SPI outside the reserved range; whether it is free the kernel decides (EEXIST)."""
        while True:
            spi = int.from_bytes(self.entropy(4), "big")
            if spi >= MIN_SPI:
                return spi

    def next_serial(self) -> int:
        """A number that names an IKE SA for its whole life."""
        self._serial += 1
        return self._serial

    def add(self, sa: IkeSa) -> None:
        """Make an IKE SA reachable by its SPI."""
        self.sas[sa.serial] = sa
        self.by_spi[sa.our_spi] = sa
        if sa.state in HALF_OPEN:
            sa.init_source = sa.remote
            self.by_init[sa.spi_i, sa.remote] = sa
            self.half_open[sa.remote.address] = self.half_open.get(sa.remote.address, 0) + 1
            self.half_open_total += 1
            self.timers.set(sa.serial, Timer.HALF_OPEN, self.now + self.config.half_open_timeout_s)

    def no_longer_half_open(self, sa: IkeSa) -> None:
        """The peer has authenticated itself, or is given up."""
        source, sa.init_source = sa.init_source, None
        if source is None:
            return
        del self.by_init[sa.spi_i, source]
        self.timers.cancel(sa.serial, Timer.HALF_OPEN)
        self.half_open_total -= 1
        left = self.half_open[source.address] - 1
        if left:
            self.half_open[source.address] = left
        else:
            del self.half_open[source.address]

    def of_connection(self, name: str) -> list[IkeSa]:
        """IKE SAs of one connection, oldest first."""
        connection = self.connections.get(name)
        return [self.sas[s] for s in connection.serials] if connection else []

    def attach(self, sa: IkeSa) -> None:
        """Count an IKE SA among those of its connection."""
        connection = self.connections.get(sa.connection)
        if connection is not None:
            connection.serials[sa.serial] = None

    # -- effects that are answered

    def new_token(self) -> Token:
        """A number that brings an answer back to who waits for it."""
        self._token += 1
        return self._token

    def install(self, child: ChildSa, step: Step, sas: tuple[tuple[KernelSa, SaKeys], ...]) -> None:
        """Ask for SAs of a child; ``step.done`` goes on when the kernel has answered."""
        token = self.new_token()
        self.waiting[token] = Waiting(child, step, tuple(s for s, _ in sas))
        self.emit(InstallSas(token, sas))

    def owner(self, child: ChildSa) -> IkeSa | None:
        """The IKE SA that a child hangs on; None if it has been removed."""
        sa, found = self.children.get(child.inbound, (None, None))
        return sa if found is child else None

    def child_installed(self, sa: IkeSa, child: ChildSa) -> None:
        """Both SAs of a child are in the kernel."""
        child.state = ChildState.INSTALLED
        connection = self.connections.get(sa.connection)
        if connection is not None:
            connection.child_up(child.config.name)
        self.emit(
            ChildSaInstalled(
                connection=sa.connection,
                child=child.config.name,
                reqid=child.reqid,
                ike=sa.name,
                inbound=child.inbound,
                outbound=child.outbound,
                suite=child.suite,
                mode=child.mode,
                local_ts=child.local_ts,
                remote_ts=child.remote_ts,
                encap=child.encap,
            )
        )

    def remove_child(self, sa: IkeSa, child: ChildSa, reason: Failure, *, retire: bool = False) -> None:
        """Take a child out of the tables and of the kernel.

        With ``retire`` its inbound SA stays until packets on their way have come. A child that it was to replace
        goes on.
        """
        sa.children.remove(child)
        for other in sa.children:
            if other.successor is child:
                other.successor, other.state = None, ChildState.INSTALLED
            if other.heir is child:
                other.heir = None
        for sa_id in (child.inbound, child.outbound):
            if self.children.get(sa_id, (None, None))[1] is child:
                del self.children[sa_id]
        self.by_reqid[child.reqid].remove(child)
        if not self.by_reqid[child.reqid]:
            del self.by_reqid[child.reqid]
        self.peers.release(sa, child)
        if not child.installed:
            return
        if retire:
            self.emit(DeleteSas((child.outbound,)))
            sa.retired.append((self.now + RETIRE_S, child.inbound))
            self.timers.set(sa.serial, Timer.RETIRE, sa.retired[0][0])
        elif child.pending_outbound is not None:
            self.emit(DeleteSas((child.inbound,)))
        else:
            self.emit(DeleteSas((child.inbound, child.outbound)))
        self.emit(
            ChildSaRemoved(
                connection=sa.connection,
                child=child.config.name,
                reqid=child.reqid,
                ike=sa.name,
                inbound=child.inbound,
                outbound=child.outbound,
                reason=reason,
            )
        )

    def bury_retired(self, sa: IkeSa, *, everything: bool = False) -> None:
        """Delete inbound SAs of replaced children whose time is over."""
        due = tuple(sa_id for at, sa_id in sa.retired if everything or at <= self.now)
        sa.retired = [r for r in sa.retired if r[1] not in due]
        if due:
            self.emit(DeleteSas(due))
        if sa.retired:
            self.timers.set(sa.serial, Timer.RETIRE, sa.retired[0][0])

    def add_child(self, sa: IkeSa, child: ChildSa) -> None:
        """Count a child among those of its IKE SA."""
        sa.children.append(child)
        if self.children.get(child.inbound, (None, None))[1] is not child:  # not one that another IKE SA leaves us
            self.by_reqid.setdefault(child.reqid, []).append(child)
            self.peers.claim(sa, child)
        self.children[child.inbound] = self.children[child.outbound] = (sa, child)

    def end_probe(self, sa: IkeSa, outcome: ProbeOutcome) -> None:
        """Report what became of the probe of an IKE SA; the next one may come."""
        probing, sa.probing = sa.probing, None
        assert probing is not None
        self.timers.cancel(sa.serial, Timer.PROBE)
        if (probing.local, probing.remote) != (sa.local, sa.remote):
            outcome = ProbeOutcome.UNAVAILABLE  # the SA has moved: that was another path
        self.emit(ReportProbe(probing.token, outcome, probing.size))

    def close(self, sa: IkeSa, reason: Failure) -> None:
        """End an IKE SA and all that hangs on it, at once and without a word to the peer."""
        if sa.state == IkeState.CLOSED:
            return
        was_established = sa.established_at is not None
        for child in tuple(sa.children):
            self.remove_child(sa, child, reason)
        self.bury_retired(sa, everything=True)
        self.no_longer_half_open(sa)
        sa.move(IkeState.CLOSED)
        if sa.probing is not None:
            last = sa.outstanding
            silent = last is not None and last.message_id == sa.probing.message_id and last.attempts > last.before + 1
            outcome = ProbeOutcome.SILENT if sa.probed else ProbeOutcome.UNSUPPORTED
            self.end_probe(sa, outcome if silent else ProbeOutcome.UNAVAILABLE)
        sa.outstanding = None
        sa.queue.clear()
        self.sas.pop(sa.serial, None)
        self.by_spi.pop(sa.our_spi, None)
        self.reassembly.forget_all(sa.serial)
        self.timers.cancel_all(sa.serial)
        self.peers.leave(sa)
        connection = self.connections.get(sa.connection)
        if connection is not None:
            connection.serials.pop(sa.serial, None)
        if was_established:
            self.emit(IkeSaClosed(connection=sa.connection, ike=sa.name, reason=reason))
