"""Two gateways with one tunnel at a time, whoever makes them, over a path that the tests make narrow.

The narrow place is in the router: what it forwards, either way. The gateways' own links stay wide, so nobody knows
without being told. A veth device drops in silence what its own MTU is too small for; so the routes are narrow, not the
links, and the router tells as routers do. Each tunnel starts from an address of gateway A that no tunnel before had:
nobody remembers anything of its path.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from tests.lab.blackhole.cells import CIPHERS, COMPARISON, Cell
from tests.lab.blackhole.memory import forget
from tests.lab.blackhole.weather import Weather
from tests.lab.tunnel import IDS, PSK, text
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.peers.libreswan import Libreswan
from xfrmctl.lab.peers.peer import Peer, PeerTunnel
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.peers.swanctl import Child, Connection
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, OUTER_B, Topology
from xfrmctl.model.snapshot import MtuInfo

AGING_S = 3
"""The ageing time in the lab: how long after a path has recovered its size is known again."""

ADDRESSES = 200
"""Addresses of gateway A, so tunnels of one site."""

_IKE = "aes256gcm16-prfsha384-x25519"
_LINKS = {"ha": ("eth0",), "ga": ("lan", "wan"), "r": ("ra", "rb"), "gb": ("wan", "lan"), "hb": ("eth0",)}
_INTERFACE_ID = 42
_GRE = (["10.255.0.1/30", "fd00:255::1/64"], ["10.255.0.2/30", "fd00:255::2/64"])


def address(number: int, outer: int) -> str:
    """Gateway A's address for its tunnel of this number."""
    return f"172.16.1.{number}" if outer == 4 else f"fd16:1::{number:x}"


class Ends(Protocol):
    """Who makes the tunnel."""

    def arrange(self, cell: Cell, near: str, far: str) -> None:
        """Have this tunnel and no other: it is up when this returns. Addresses of gateway A and B."""

    def figures(self) -> list[MtuInfo]:
        """What our own gateways take the path to carry, gateway A's first."""

    def log_tail(self) -> str:
        """The end of what they have logged."""


class Site:
    """A topology, whoever makes the tunnels of the cell at hand, and the path between."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._kind = ""
        self._ends: Ends
        self.topology = Topology()
        self.weather = Weather(self.topology)
        self.near, self._number = "", 0
        self._link = 1500
        self._narrow: tuple[int, int] | None = None

    def __enter__(self) -> "Site":
        self.topology.__enter__()
        for outer in (4, 6):
            bits = "24" if outer == 4 else "64 nodad"
            lines = [f"address add {address(n, outer)}/{bits} dev wan" for n in range(2, ADDRESSES)]
            self.topology.ns("ga").batch(lines)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stack.close()
        finally:
            self.topology.__exit__(None, None, None)

    @property
    def ends(self) -> Ends:
        """Who makes the tunnel now."""
        return self._ends

    @property
    def spent(self) -> bool:
        """Whether there is no address left for another tunnel."""
        return self._number + 1 >= ADDRESSES

    def begin(self, cell: Cell, path: int) -> None:
        """A new tunnel as the cell wants it, over a path that carries ``path`` bytes; it is up when this returns."""
        if self._kind != cell.ends:
            self._stack.close()
            self._ends = self._stack.enter_context(_MAKERS[cell.ends](self.topology))
            self._kind = cell.ends
        self.weather.become(cell.icmp)
        self.links(cell.link)
        self.path(int(cell.outer), path)
        self.forget("ha", "ga", "r", "gb", "hb")
        self._number += 1
        self.near = address(self._number, int(cell.outer))
        self._ends.arrange(cell, self.near, far(cell))

    def links(self, mtu: int) -> None:
        """The MTU of every link."""
        if mtu != self._link:
            self._link = mtu
            for node, devices in _LINKS.items():
                self.topology.ns(node).batch([f"link set {device} mtu {mtu}" for device in devices])

    def path(self, outer: int, mtu: int) -> None:
        """What the router forwards, either way, of this family."""
        if self._narrow == (outer, mtu):
            return
        if self._narrow is not None and self._narrow[0] != outer:
            self._routes(self._narrow[0], "")
        self._routes(outer, f" mtu {mtu}")
        self._narrow = (outer, mtu)

    def _routes(self, outer: int, mtu: str) -> None:
        nets = ("172.16.1.0/24", "172.16.2.0/24") if outer == 4 else ("fd16:1::/64", "fd16:2::/64")
        more = "" if outer == 4 else " proto kernel metric 256"
        self.topology.ns("r").batch(
            [f"route change {net} dev {dev}{more}{mtu}" for net, dev in zip(nets, ("ra", "rb"), strict=True)]
        )

    def forget(self, *names: str) -> None:
        """Have kernels forget what they have learned of paths."""
        for name in names:
            forget(self.topology.ns(name))

    def hosts(self, direction: int) -> tuple[Namespace, Namespace]:
        """Source and sink of what goes in a direction."""
        ha, hb = self.topology.ns("ha"), self.topology.ns("hb")
        return (ha, hb) if direction == 0 else (hb, ha)


def sink(cell: Cell, direction: int) -> str:
    """The inner address that a direction leads to."""
    return (HOST_B, HOST_A)[direction][int(cell.inner) // 6]


def far(cell: Cell) -> str:
    """Gateway B's address."""
    return OUTER_B[int(cell.outer) // 6]


def _nets(cell: Cell, side: int) -> tuple[str, str]:
    """The inner network of this side and of the other."""
    own = (INNER_A, INNER_B)[side][int(cell.inner) // 6]
    return own, (INNER_B, INNER_A)[side][int(cell.inner) // 6]


class _Ours:
    """Gateways of ours, and perhaps a foreign peer as gateway B."""

    def __init__(self, gateways: list[Gateway], peer: Peer | None) -> None:
        self._gateways, self._peer = gateways, peer
        self._name, self._tunnels = "", 0

    def arrange(self, cell: Cell, near: str, far: str) -> None:
        """See :class:`Ends`."""
        self._tunnels += 1
        self._name = f"tunnel{self._tunnels}"
        if self._peer is not None:
            self._peer.tell(_peer_tunnel(cell, self._name, near, far))
        for side, gateway in reversed(list(enumerate(self._gateways))):
            entry = _connection(cell, side, near, far, device=f"gre{self._tunnels}")
            gateway.configure(text({self._name: entry}, path_mtu={"aging": f"{AGING_S}s"}))
            loaded = gateway.client.reload()
            assert loaded.ok, loaded.message
        brought = self._gateways[0].client.up(self._name)
        assert brought.ok, brought.message
        for gateway in self._gateways:
            gateway.wait_up(self._name)

    def figures(self) -> list[MtuInfo]:
        """See :class:`Ends`."""
        found = []
        for gateway in self._gateways:
            children = [c for ike in gateway.client.connection(self._name).ike_sas for c in ike.children]
            found += [child.mtu for child in children[-1:] if child.mtu is not None]
        return found

    def log_tail(self) -> str:
        """See :class:`Ends`."""
        logs = [f"---- {gateway.namespace.name}\n{gateway.log_tail(60)}" for gateway in self._gateways]
        return "\n".join([*logs, *([f"---- peer\n{self._peer.log_text()[-3000:]}"] if self._peer else [])])


class _Charons:
    """strongSwan at both ends, as its documentation sets it up."""

    def __init__(self, charons: list[StrongSwan]) -> None:
        self._charons = charons

    def arrange(self, cell: Cell, near: str, far: str) -> None:
        """See :class:`Ends`."""
        for charon in self._charons:
            charon.forget()
            charon.namespace.run(["ip", "link", "del", "ipsec0"], check=False)
        for side, charon in enumerate(self._charons):
            own, other = _nets(cell, side)
            interface = _INTERFACE_ID if cell.plane == "interface" else None
            if interface is not None:
                charon.namespace.batch(
                    [
                        f"link add ipsec0 type xfrm dev wan if_id {interface}",
                        "link set ipsec0 up",
                        f"route add {other} dev ipsec0",
                    ]
                )
            child = Child(
                local_ts=[own],
                remote_ts=[other],
                esp_proposals=[CIPHERS[cell.cipher]],
                if_id_in=interface,
                if_id_out=interface,
            )
            charon.configure(
                [
                    Connection(
                        local=(near, far)[side],
                        remote=(far, near)[side],
                        psk=PSK,
                        local_id=_id(side),
                        remote_id=_id(1 - side),
                        proposals=(_IKE,),
                        encap=cell.carrier == "udp",
                        mobike=False,
                        children=[child],
                    )
                ]
            )
            charon.load()
        self._charons[0].initiate()

    def figures(self) -> list[MtuInfo]:
        """See :class:`Ends`."""
        return []

    def log_tail(self) -> str:
        """See :class:`Ends`."""
        return "\n".join(charon.log_tail(25) for charon in self._charons)


def _id(side: int) -> str:
    return IDS[side].removeprefix("fqdn:")


def _connection(cell: Cell, side: int, near: str, far: str, device: str) -> dict[str, Any]:
    own, other = _nets(cell, side)
    child: dict[str, Any] = {"esp": [CIPHERS[cell.cipher]]}
    if cell.plane == "gre":
        child["tunnel"] = {"interface": device, "addresses": _GRE[side], "routes": [other]}
    else:
        child |= {"local_ts": [own], "remote_ts": [other], "dataplane": cell.plane}
    return {
        "local": {"address": (near, far)[side], "id": IDS[side]},
        "remote": {"address": (far, near)[side], "id": IDS[1 - side]},
        "auth": {"psk": PSK},
        "ike": {"proposals": [_IKE], "dpd": "30s", "encap": "always" if cell.carrier == "udp" else "auto"},
        "children": {"net": child | {"start": "none"}},
    }


def _peer_tunnel(cell: Cell, name: str, near: str, far: str) -> PeerTunnel:
    own, other = _nets(cell, 1)
    return PeerTunnel(
        name=name,
        local=far,
        remote=near,
        local_id=_id(1),
        remote_id=_id(0),
        psk=PSK,
        local_ts=[own],
        remote_ts=[other],
        ike=_IKE,
        esp=CIPHERS[cell.cipher],
    )


@contextmanager
def _gateways(topology: Topology, names: tuple[str, ...], peer: Peer | None) -> Iterator[Ends]:
    config = text({}, path_mtu={"aging": f"{AGING_S}s"})
    made = [Gateway(topology.ns(name), config, options=("--log-level", "debug")) for name in names]
    try:
        for gateway in made:
            gateway.start(wait=False)
        if peer is not None:
            peer.start()
        for gateway in made:
            gateway.wait_ready()
        yield _Ours(made, peer)
    finally:
        for gateway in made:
            gateway.close()
        if peer is not None:
            peer.stop()


@contextmanager
def _charons(topology: Topology) -> Iterator[Ends]:
    made = [StrongSwan(topology.ns(name), []) for name in ("ga", "gb")]
    try:
        for charon in made:
            charon.start()
        yield _Charons(made)
    finally:
        for charon in made:
            charon.stop()


_MAKERS = {
    "ours": lambda topology: _gateways(topology, ("ga", "gb"), None),
    "strongswan": lambda topology: _gateways(topology, ("ga",), StrongSwan(topology.ns("gb"), [])),
    "libreswan": lambda topology: _gateways(topology, ("ga",), Libreswan(topology.ns("gb"))),
    COMPARISON: _charons,
}


def until(holds: Any, within_s: float, every_s: float = 0.03) -> float | None:
    """Seconds until it holds, None where it does not."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > within_s:
            return None
        time.sleep(every_s)
    return time.monotonic() - began
