"""Watches over the tunnel devices: whether they are up, and whether packets are led into the tunnel that sent them.

The kernel drops such a packet and counts a collision (``iptunnel_xmit_stats``, ``ip_tunnel_xmit``); nothing else tells.
While our rule and routes stand that cannot happen, so where it does they are looked at again at once.
"""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from xfrmctl.daemon.keepalive import Keepalives
from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.daemon.underlay import Underlays
from xfrmctl.ike.config import ChildConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.kernel.ports import Kernel, TunnelCounters
from xfrmctl.model.events import Event, KernelTrouble
from xfrmctl.model.sizes import IPV6_FLOOR
from xfrmctl.model.snapshot import TunnelInfo
from xfrmctl.model.tunnel import recursion

EPISODE_S = 60.0
"""Without another dropped packet for this long, seconds, the next one is news again."""


@dataclass(slots=True)
class _Seen:
    """What was counted on a device last. ``looped_at`` is when packets were last dropped for a loop."""

    counters: TunnelCounters
    looped_at: float | None = None


@dataclass(slots=True)
class TunnelWatch:
    """``tell`` publishes an event, ``suspect`` has all that should stand in the kernel looked at."""

    engine: IkeEngine
    kernel: Kernel
    underlays: Underlays
    tell: Callable[[Event], None]
    suspect: Callable[[], None]
    now: Callable[[], float]
    keepalives: Keepalives
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def configure(self) -> None:
        """Take up what is configured now; call it at the start and after each reload."""
        self.keepalives.configure()

    def observe(self, event: Event) -> None:
        """Listen to the engine."""
        self.keepalives.observe(event)

    def close(self) -> None:
        """Stop all."""
        self.keepalives.close()

    def look(self) -> None:
        """Read the counters. Raises KernelRefusal."""
        if not any(True for _ in self._children()):
            self._seen.clear()
            return
        now, found = self.now(), self.kernel.tunnels()
        for name in self._seen.keys() - found.keys():
            del self._seen[name]
        for name, counters in found.items():
            seen = self._seen.setdefault(name, _Seen(counters))
            if counters.looped > seen.counters.looped:
                if seen.looped_at is None or now - seen.looped_at > EPISODE_S:
                    self.tell(KernelTrouble(problem=self._looping(name, counters.looped - seen.counters.looped)))
                seen.looped_at = now
                self.suspect()
            if counters.mtu >= IPV6_FLOOR > seen.counters.mtu:  # somebody had made it so small that IPv6 was gone
                self.suspect()
            seen.counters = counters

    def problems(self) -> list[str]:
        """Sentences with cause and cure, for as long as they are true."""
        problems: list[str] = []
        for child in self._children():
            assert child.tunnel is not None
            name = child.tunnel.interface
            peer, seen = self.underlays.through(name), self._seen.get(name)
            if peer is not None:
                problems.append(recursion(name, peer))
            elif seen is not None and seen.looped_at is not None and self.now() - seen.looped_at <= EPISODE_S:
                problems.append(self._looping(name, seen.counters.looped))
        return problems

    def info(self, child: ChildConfig) -> TunnelInfo | None:
        """The device of a child as the control API shows it; None where it has none."""
        if child.tunnel is None:
            return None
        name, seen = child.tunnel.interface, self._seen.get(child.tunnel.interface)
        word, sent, answered = self.keepalives.state(child)
        return TunnelInfo(
            interface=name,
            type=child.tunnel.type.value,
            state="missing" if seen is None else "up" if seen.counters.up else "down",
            mtu=seen.counters.mtu if seen is not None else None,
            looped=seen.counters.looped if seen is not None else 0,
            recursive_route=self.underlays.through(name) is not None,
            keepalive=word,
            keepalives_sent=sent,
            keepalives_answered=answered,
        )

    def _children(self) -> Iterable[ChildConfig]:
        for connection in self.engine.config.connections.values():
            yield from (child for child in connection.children if child.tunnel is not None)

    def _looping(self, name: str, count: int) -> str:
        peer = self.underlays.far_ends.get(name)
        if peer is None:
            return (
                f"{name}: {count} packets were led into the device that had sent them, and dropped; look at the routes"
                f" into {name}: one takes in the tunnel's own far end"
            )
        return f"{name}: {count} packets were dropped; {recursion(name, peer)}"


def watching(
    engine: IkeEngine,
    kernel: Kernel,
    paths: PathKeeper,
    reconciler: Reconciler,
    tell: Callable[[Event], None],
    loop: AbstractEventLoop,
) -> TunnelWatch:
    """A watch with its keepalives, and those around it told of it."""
    paths.underlays.tell = tell
    keepalives = Keepalives(engine, loop, reconciler.maker.established, reconciler.path_changed, tell)
    reconciler.maker.device_up = keepalives.up
    return TunnelWatch(engine, kernel, paths.underlays, tell, reconciler.look_again, loop.time, keepalives)
