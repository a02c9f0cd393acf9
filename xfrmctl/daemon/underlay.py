"""The way to each peer outside of every tunnel; and who leads a peer's packets into the tunnel to that very peer.

Recursive routing: a route to the far end of a tunnel leads into the tunnel. Whoever makes it (an operator's static
route, a routing daemon that learns the peer's network over the tunnel), every packet of the tunnel would then have to
pass the tunnel first, and the kernel drops it without a word, IKE's included. Our rule and our routes to the peers are
asked before any other route, so packets keep to the underlay: it is enough never to follow such a route ourselves. It
is told, all the same: were we not there, the tunnel would be dead.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from xfrmctl.daemon.intent import has_route_to_peer
from xfrmctl.ike.config import ConnectionConfig, EngineConfig
from xfrmctl.kernel.ports import Kernel, Underlay
from xfrmctl.model.address import IPAddress
from xfrmctl.model.events import Event, RecursiveRoute

Pair = tuple[IPAddress | None, IPAddress]

DETOUR_S = 5.0
"""While a bad route stands, the whole routing table is searched for a better one once in this time, seconds."""


def far_ends(connections: Iterable[ConnectionConfig]) -> dict[str, IPAddress]:
    """The peer behind each device of ours that has one peer.

    Not xfrm interfaces that the configuration itself routes the peer's address into.
    """
    found: dict[str, IPAddress] = {}
    for connection in connections:
        for child in connection.children if connection.remote is not None else ():
            name = child.tunnel.interface if child.tunnel is not None else child.interface
            if name is not None and connection.remote is not None and has_route_to_peer(child, connection.remote):
                found[name] = connection.remote
    return found


@dataclass(slots=True)
class _Bad:
    """A route that is not followed: into which device, and the way that is taken instead, as of when."""

    device: str
    instead: Underlay | None
    at: float


@dataclass(slots=True)
class Underlays:
    """Asks the kernel for the way to a peer, and knows better where the answer is a tunnel to that peer."""

    kernel: Kernel
    config: Callable[[], EngineConfig]
    now: Callable[[], float]
    tell: Callable[[Event], None] = lambda _: None
    _of: EngineConfig | None = None
    _devices: dict[str, IPAddress] = field(default_factory=dict)
    _far: frozenset[IPAddress] = frozenset()
    _good: dict[Pair, Underlay] = field(default_factory=dict)
    _bad: dict[Pair, _Bad] = field(default_factory=dict)

    def find(self, local: IPAddress | None, remote: IPAddress) -> Underlay | None:
        """The way to a peer, our own routes and tunnels apart; None where there is none."""
        self._learn()
        pair, found = (local, remote), self.kernel.underlay(local, remote)
        if remote not in self._far:
            return found
        if found is None or not self._leads_back(found.device, remote):
            self._clear(pair)
            if found is not None:
                self._good[pair] = found
            return found
        bad = self._bad.get(pair)
        if bad is None or bad.device != found.device or self.now() - bad.at >= DETOUR_S:
            instead = self.kernel.detour(remote, self._devices.keys()) or self._good.get(pair)
            if bad is None or bad.device != found.device:
                self.tell(RecursiveRoute(device=found.device, peer=remote, instead=_words(instead), over=False))
            bad = self._bad[pair] = _Bad(found.device, instead, self.now())
        return bad.instead

    def through(self, device: str) -> IPAddress | None:
        """The peer whose packets somebody's route leads into this tunnel to it; None where all is well."""
        return next((remote for (_, remote), bad in self._bad.items() if bad.device == device), None)

    def misled(self, local: IPAddress | None, remote: IPAddress) -> bool:
        """Whether who asks the kernel's routes for this peer may be told of a tunnel to that very peer."""
        return (local, remote) in self._bad

    @property
    def far_ends(self) -> dict[str, IPAddress]:
        """The peer behind each tunnel device; to be read only."""
        self._learn()
        return self._devices

    def _learn(self) -> None:
        """Look for devices when the configuration is another one."""
        config = self.config()
        if config is not self._of:
            self._of, self._devices = config, far_ends(config.connections.values())
            self._far = frozenset(self._devices.values())
            self._good = {pair: way for pair, way in self._good.items() if pair[1] in self._far}
            self._bad = {pair: bad for pair, bad in self._bad.items() if pair[1] in self._far}

    def _clear(self, pair: Pair) -> None:
        bad = self._bad.pop(pair, None)
        if bad is not None:
            self.tell(RecursiveRoute(device=bad.device, peer=pair[1], instead="", over=True))

    def _leads_back(self, device: str, remote: IPAddress) -> bool:
        """Whether a tunnel leads to this peer, or through other tunnels in a circle."""
        seen: set[str] = set()
        while device in self._devices:
            far = self._devices[device]
            if far == remote or device in seen:
                return True
            seen.add(device)
            way = self.kernel.underlay(None, far)
            if way is None:
                return False
            device = way.device
        return False


def _words(way: Underlay | None) -> str:
    if way is None:
        return ""
    return f"dev {way.device}" if way.via is None else f"via {way.via} dev {way.device}"
