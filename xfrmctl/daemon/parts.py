"""What the reconciler knows of each reqid: what is to stand, and where that is from; and how that is found."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from xfrmctl.daemon import inside, intent, routes
from xfrmctl.daemon.fragmentation import Squeeze, squeezed
from xfrmctl.daemon.intent import Established, Sizes
from xfrmctl.daemon.narrow import NarrowPaths
from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.ike.config import ChildConfig, ConnectionConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.sa import ChildSa
from xfrmctl.kernel.desired import Desired
from xfrmctl.model.address import IPAddress
from xfrmctl.model.overlap import Pairs
from xfrmctl.model.path import Path
from xfrmctl.model.sa import DfPolicy
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.spd import SpdEntry

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


@dataclass(slots=True)
class PartMaker:
    """Makes parts of what is configured, negotiated and believed of the paths.

    ``device_up`` says whether a tunnel device is to be up, ``discards`` are the configured entries that throw away,
    ``own`` our addresses, ``outer`` what routes take to whom no path is known, ``narrow`` who needs more than fits.
    """

    engine: IkeEngine
    paths: PathKeeper
    device_up: Callable[[ChildConfig], bool] = lambda _: True
    discards: Pairs[SpdEntry] = field(default_factory=Pairs)
    own: tuple[IPAddress, ...] = ()
    outer: dict[OuterPair, int | None] = field(default_factory=dict)
    narrow: NarrowPaths = field(default_factory=NarrowPaths)

    def established(self, reqid: int) -> Established | None:
        """The newest installed CHILD SA with this reqid."""
        newest = self.engine.newest_child(reqid)
        if newest is None:
            return None
        return established_of(newest[1])

    def make(self, reqid: int, *, stopping: bool = False) -> Part | None:
        """What this reqid wants; None where it is neither configured nor a peer's who is there."""
        name, child = self.engine.configured(reqid)
        if child is not None:
            return self.configured(self.engine.config.connections[name], child, stopping=stopping)
        newest = self.engine.newest_child(reqid)
        if newest is None or newest[0].config is None:
            return None
        return self.peers(newest[0].config, newest[1].config, newest[1], stopping=stopping)

    def peers(
        self, connection: ConnectionConfig, config: ChildConfig, child: ChildSa, *, stopping: bool = False
    ) -> Part:
        """What a CHILD SA of one of many peers wants."""
        established = established_of(child)
        path = (established.local, established.remote)
        sizes = self._sizes(connection, config, established, path)
        desired = intent.of_peer(config, established, sizes, stopping=stopping)
        desired = inside.speaking(desired, established.local_ts, self.own)
        part = Part(self._passing(desired, established.local_ts, established.remote_ts), sizes, path)
        return part if stopping else self._on_its_way(part, config, established)

    def configured(
        self, connection: ConnectionConfig, child: ChildConfig, *, stopping: bool = False, standing: bool = True
    ) -> Part:
        """What a configured child wants, established or not; without ``standing`` as if it were not."""
        established = self.established(child.reqid) if standing else None
        remote = established.remote if established else connection.remote
        local = established.local if established else connection.local
        path = (local, remote) if remote is not None else None
        sizes = self._sizes(connection, child, established, path)
        up = self.device_up(child)
        desired = intent.of_child(connection, child, established, sizes, stopping=stopping, up=up)
        if child.tunnel is None:
            desired = inside.speaking(desired, established.local_ts if established else child.local_ts, self.own)
        part = Part(self._passing(desired, child.local_ts, child.remote_ts), sizes, path)
        if child.tunnel is not None and established is None and path is not None and not stopping:
            return self._with_way(part, path)
        return part if stopping else self._on_its_way(part, child, established)

    def _with_way(self, part: Part, path: OuterPair) -> Part:
        """The part with the route to the far end of a tunnel that has no SA: IKE, too, must not be led into it."""
        way = self.paths.underlays.find(*path)
        if way is not None:
            route = intent.to_peer(path[1], way, way.mtu)
            part.desired = replace(part.desired, routes=part.desired.routes | {route})
        return part

    def _passing(
        self, part: Desired, local_ts: tuple[TrafficSelector, ...], remote_ts: tuple[TrafficSelector, ...]
    ) -> Desired:
        """A part of a tunnel; with what lets its packets past a discard that would match them the wrong way round."""
        if not any(self.discards.overlapping(local_ts, remote_ts)):
            return part
        if all(policy.template is None for policy in part.policies.values()):
            return part
        return replace(part, policies=intent.passage(local_ts, remote_ts) | part.policies)

    def _sizes(
        self, connection: ConnectionConfig, child: ChildConfig, established: Established | None, path: OuterPair | None
    ) -> Sizes:
        """By what the path is believed to carry, or before anybody goes it by what the route takes."""
        known = self.paths.in_force(established.path) if established is not None else None
        if known is not None:
            return intent.sizes(connection, child, established, *known)
        return intent.sizes(connection, child, established, self._outer_mtu(path) if path else None)

    def _on_its_way(self, part: Part, child: ChildConfig, established: Established | None) -> Part:
        """The part with the route to its peer, that holds the kernel to what the path carries.

        Or to what IPv6 needs of it, where DF is clear already: see :mod:`xfrmctl.daemon.narrow`.
        """
        if established is None:
            return part
        path = part.way = established.path
        known, way = self.paths.in_force(path), self.paths.way(path)
        underlay = way.underlay if way is not None else None
        routed = intent.has_route_to_peer(child, established.remote)
        part.squeeze = squeezed(
            child,
            part.sizes.inner_mtu,
            established.suite,
            established.remote.version,
            established.mode,
            encap=established.encap,
            link_mtu=underlay.mtu if underlay is not None else None,
        )
        if known is not None and underlay is not None and routed:
            need = self.narrow.need(path) if established.df is DfPolicy.CLEAR else None
            route = intent.to_peer(path.remote, underlay, need or known[0], lock=need is not None)
            part.desired = replace(part.desired, routes=part.desired.routes | {route})
        return part

    def _outer_mtu(self, path: OuterPair) -> int | None:
        if path not in self.outer:
            self.outer[path] = routes.outer_mtu(*path)
        return self.outer[path]
