"""What may be called: the kernel as the daemon sees it. Two implementations: ``system`` and ``fake``.

SAs are imperative and exact: the engine asks for this SA and gets a yes or a reason. Everything else is desired
state: say what should stand, read what could not be had (DESIGN 3.2).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from xfrmctl.kernel.desired import Actual, Desired
from xfrmctl.kernel.events import KernelEvent
from xfrmctl.kernel.plan import Plan
from xfrmctl.model.address import IPAddress
from xfrmctl.model.sa import KernelSa, SaCounters, SaId, SaKeys, SaMove
from xfrmctl.model.snapshot import ClampInfo, ReassemblyInfo


@dataclass(frozen=True, slots=True)
class ConvergeReport:
    """What a convergence did. ``problems`` are sentences with cause and cure; empty means all stands as desired.

    ``disturbances`` are sentences, too: others had taken away or shadowed what we had made, and it was put back.
    """

    applied: int
    problems: tuple[str, ...] = ()
    disturbances: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """How many objects of ours were removed, by kind, and what could not be."""

    removed: dict[str, int]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Underlay:
    """The first step of the way to a peer, as it is without our own routes. ``mtu`` is what it takes, bytes."""

    device: str
    via: IPAddress | None
    source: IPAddress | None
    mtu: int


@dataclass(frozen=True, slots=True)
class TunnelCounters:
    """A tunnel device. ``looped``: packets that it would have had to carry itself, and that were dropped for it."""

    up: bool
    mtu: int
    looped: int
    tx_errors: int


class SadPort(Protocol):
    """The SAD. All calls answer at once: netlink does its work within the system call."""

    def install(self, sas: Sequence[tuple[KernelSa, SaKeys]]) -> None:
        """Add SAs, all or none. Raises KernelRefusal; those already added are then gone again."""

    def delete(self, ids: Sequence[SaId]) -> None:
        """Delete SAs; one that is gone already is no failure. Raises KernelRefusal for anything else."""

    def move(self, moves: Sequence[SaMove]) -> None:
        """Change addresses and encapsulation ports of SAs; sequence numbers and replay windows stay.

        An SA that is gone is no failure. Raises KernelRefusal for the first that could not be moved, after the others.
        """

    def dump(self) -> dict[SaId, SaCounters]:
        """Every SA of ours with what the kernel has counted on it."""

    def gone(self, ids: Sequence[SaId]) -> list[SaId]:
        """Those of these SAs that the kernel does not have. Raises KernelRefusal."""


class EventSource(Protocol):
    """A netlink multicast socket."""

    def fileno(self) -> int:
        """The descriptor to wait for."""

    def read(self) -> list[KernelEvent]:
        """Everything that has arrived; never blocks."""

    def close(self) -> None:
        """Leave the groups."""


class Kernel(SadPort, Protocol):
    """All of the kernel that the program uses.

    ``converge`` and ``change`` block for as long as the change is large: run them in a worker thread, one at a
    time. The SAD, ``underlay`` and ``addresses`` may be used from another thread meanwhile.
    """

    def converge(self, desired: Desired) -> ConvergeReport:
        """Read everything of ours, compare, mend, read again what went wrong. For start, drift and lost events."""

    def change(self, before: Desired, after: Desired) -> ConvergeReport:
        """Bring ``before`` to ``after`` without reading the kernel: both are the parts that one change touches.

        Costs what the change is large, not what the gateway is large.
        """

    def actual(self) -> Actual:
        """What stands and is ours."""

    def underlay(self, local: IPAddress | None, remote: IPAddress) -> Underlay | None:
        """Which way packets to a peer go, our own routes apart; None where there is no way."""

    def addresses(self) -> tuple[IPAddress, ...]:
        """Global addresses of this host, those of its devices in order. Raises KernelRefusal."""

    def detour(self, remote: IPAddress, avoid: Collection[str]) -> Underlay | None:
        """The best route to a peer in the main table that leads through none of these devices; None without one.

        Costs what the routing table is large.
        """

    def rules_stand(self, versions: Collection[int]) -> bool:
        """Whether the table of routes to peers is asked, for each of these IP versions."""

    def tunnels(self) -> dict[str, TunnelCounters]:
        """The tunnel devices of ours that stand, with what the kernel has counted on them."""

    def plan(self, desired: Desired) -> Plan:
        """What ``converge`` would do."""

    def xfrm_stat(self) -> dict[str, int]:
        """``/proc/net/xfrm_stat`` by name; empty where the kernel does not count."""

    def df_counters(self) -> dict[str, int]:
        """How many packets the rules about DF have changed since they were made: ``cleared`` and ``set``."""

    def reassembly(self) -> list[ReassemblyInfo]:
        """What the kernel counts of IP fragments, by family."""

    def clamp_counters(self) -> list[ClampInfo]:
        """The TCPMSS rules with their counters."""

    def cleanup(self) -> CleanupReport:
        """Remove every trace of us; needs no memory of what was installed."""

    def open_events(self) -> EventSource:
        """Listen to acquires, expiries and mapping changes, and to what others delete of ours."""
