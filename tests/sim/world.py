"""A world for whole engines: a virtual clock, links with latency, loss and NAT, and kernels that remember SAs."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address

from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, EngineConfig, RetransmitPolicy, RetryPolicy, Start, Unique
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.sa import IkeSa
from xfrmctl.ike.states import IkeState
from xfrmctl.model.address import Endpoint, IPAddress
from xfrmctl.model.effects import (
    DeleteSas,
    FetchUrl,
    FindPaths,
    InstallSas,
    MoveSas,
    PeerAsks,
    ReportProbe,
    SendDatagram,
    Token,
)
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import Event
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.identity import Identity
from xfrmctl.model.sa import Direction, KernelSa, SaId, SaKeys
from xfrmctl.model.selector import TrafficSelector, parse_selector
from xfrmctl.model.suite import parse_proposal

IKE_PROPOSAL = "aes256gcm16-prfsha384-x25519"
ESP_PROPOSAL = "aes256gcm16"
WALL = 1_800_000_000.0
"""When the world begins, seconds since the epoch: January 2027."""

PSK = b"a secret of the simulation"

Interceptor = Callable[["Datagram"], "Datagram | None"]


@dataclass(frozen=True)
class Datagram:
    source: Endpoint
    target: Endpoint
    data: bytes


def packet_size(datagram: Datagram) -> int:
    """Octets of the IP packet. Links lose what is larger than their MTU: IP fragments do not get through."""
    return (28 if datagram.source.address.version == 4 else 48) + len(datagram.data)


@dataclass
class Node:
    """A gateway: an engine, an address, the SAs its kernel holds, and everything it has reported.

    ``more`` are further addresses; packets arrive at each that the world knows. ``unreachable`` are addresses that its
    routes do not lead to.
    """

    name: str
    address: IPAddress
    engine: IkeEngine
    sad: dict[SaId, tuple[KernelSa, SaKeys]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    refuse: list[KernelRefusal] = field(default_factory=list)
    more: list[IPAddress] = field(default_factory=list)
    unreachable: set[IPAddress] = field(default_factory=set)
    link_mtu: int = 65535
    reports: list[ReportProbe] = field(default_factory=list)
    asked: list[PeerAsks] = field(default_factory=list)

    def of(self, kind: type[Event]) -> list[Event]:
        return [e for e in self.events if isinstance(e, kind)]

    def sa(self) -> IkeSa:
        """The one established IKE SA."""
        (found,) = [s for s in self.engine.ike_sas() if s.state == IkeState.ESTABLISHED]
        return found


class World:
    """Nodes by address, one queue of things that will happen. A kernel takes ``kernel_s`` seconds to install SAs."""

    def __init__(self, *, latency_s: float = 0.01, seed: int = 1) -> None:
        self.now = 0.0
        self.wall = WALL
        self.latency_s = latency_s
        self.loss = 0.0
        self.jitter_s = 0.0
        self.mtu = 65535
        self.ip_fragments = False
        self.nat_shift = 10000
        self.random = random.Random(seed)
        self.nodes: dict[IPAddress, Node] = {}
        self.web: dict[str, Callable[[bytes], bytes | None]] = {}
        self.fetched: list[FetchUrl] = []
        self.web_latency_s = 0.05
        self.lifetimes = False
        self.kernel_s = 0.0
        self.intercept: list[Interceptor] = []
        self.nat: dict[IPAddress, IPAddress] = {}
        self.nat_shifts: dict[IPAddress, int] = {}
        self.wire: list[Datagram] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def add(self, name: str, address: str, *connections: ConnectionConfig, **limits: int | float) -> Node:
        config = EngineConfig(connections={c.name: c for c in connections}, **limits)  # type: ignore[arg-type]
        engine = IkeEngine(config, DeterministicEntropy(name.encode()), lambda: self.wall + self.now)
        node = Node(name, ip_address(address), engine)
        self.nodes[node.address] = node
        return node

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._count), action))

    def do(self, node: Node, action: Callable[[float], None]) -> None:
        """Give a node one input and carry out what it wants."""
        action(self.now)
        while items := node.engine.drain():
            for item in items:
                self._perform(node, item)
        deadline = node.engine.deadline()
        if deadline is not None:
            self.at(max(deadline, self.now), lambda: self._wake(node, deadline))

    def _wake(self, node: Node, deadline: float) -> None:
        if node.engine.deadline() == deadline:
            self.do(node, node.engine.handle_timer)

    def _perform(self, node: Node, item: object) -> None:
        match item:
            case SendDatagram(local, remote, data, probe):
                datagram = Datagram(local, remote, data)
                if probe is not None and packet_size(datagram) > node.link_mtu:
                    node.engine.probes.not_sent(probe, self.now)
                else:
                    self.transmit(datagram, whole=probe is not None)
            case ReportProbe():
                node.reports.append(item)
            case PeerAsks():
                node.asked.append(item)
            case InstallSas(token, sas):
                if self.kernel_s:
                    self.at(self.now + self.kernel_s, lambda: self.do(node, lambda _: self._install(node, token, sas)))
                else:
                    self._install(node, token, sas)
            case FetchUrl(token, url, body):
                self.fetched.append(item)
                found = self.web[url](body) if url in self.web else None
                late = self.web_latency_s if found is not None else item.timeout_s
                problem = "" if found is not None else f"{url} is silent"
                answer = partial(node.engine.handle_fetched, token, found, problem)
                self.at(self.now + late, partial(self.do, node, answer))
            case MoveSas(moves):
                for move in moves:
                    if move.id in node.sad:
                        sa, keys = node.sad.pop(move.id)
                        changed = replace(sa, source=move.source, destination=move.destination, encap=move.encap)
                        node.sad[move.new_id] = (changed, keys)
            case FindPaths(pairs, serial):
                node.engine.handle_paths(serial, {p: self._path(node, *p) for p in pairs}, self.now)
            case DeleteSas(ids):
                for sa_id in ids:
                    node.sad.pop(sa_id, None)
            case Event():
                node.events.append(item)

    def _install(self, node: Node, token: Token, sas: Sequence[tuple[KernelSa, SaKeys]]) -> None:
        refusal = node.refuse.pop(0) if node.refuse else None
        if refusal is None:
            for sa, keys in sas:
                assert sa.id not in node.sad, f"{node.name} installs {sa.id} twice"
                node.sad[sa.id] = (sa, keys)
                if self.lifetimes:
                    self._age(node, sa)
        node.engine.handle_done(token, refusal, self.now)

    def _age(self, node: Node, sa: KernelSa) -> None:
        """The kernel watches the time: it tells of the soft limit, and takes the SA away at the hard one."""
        for seconds, hard in ((sa.lifetime.soft_seconds, False), (sa.lifetime.hard_seconds, True)):
            if seconds:
                self.at(self.now + seconds, partial(self._expire, node, sa.id, hard))

    def _expire(self, node: Node, sa_id: SaId, hard: bool) -> None:
        if sa_id in node.sad:
            if hard:
                del node.sad[sa_id]
            self.do(node, partial(node.engine.handle_expire, sa_id, hard))

    def _path(self, node: Node, local: IPAddress | None, remote: IPAddress) -> IPAddress | None:
        """Our address for this pair: the node's own one, where it may choose."""
        held = [a for a in (node.address, *node.more) if self.nodes.get(a) is node and a.version == remote.version]
        if remote in node.unreachable or not held:
            return None
        return held[0] if local is None else local if local in held else None

    def move(self, node: Node, *addresses: str) -> None:
        """The node has these addresses from now on, the first one preferred, and learns of it."""
        for address in (node.address, *node.more):
            self.nodes.pop(address, None)
        found = [ip_address(address) for address in addresses]
        if found:
            node.address, node.more = found[0], found[1:]
        for address in found:
            self.nodes[address] = node
        self.do(node, node.engine.handle_network)

    def transmit(self, datagram: Datagram, *, whole: bool = False) -> None:
        """With ``whole`` nobody may fragment it; otherwise it depends on ``ip_fragments`` whether fragments arrive."""
        self.wire.append(datagram)
        changed: Datagram | None = datagram if datagram.source.address in self.nodes else None
        for interceptor in self.intercept:
            changed = interceptor(changed) if changed is not None else None
        if changed is None or self.random.random() < self.loss or self._too_big(changed, whole):
            return
        final = self._translate(changed)
        target = self.nodes.get(final.target.address) if final is not None else None
        if target is not None and final is not None:
            late = self.random.random() * self.jitter_s if self.jitter_s else 0.0
            self.at(self.now + self.latency_s + late, partial(self.deliver, target, final))

    def _too_big(self, datagram: Datagram, whole: bool) -> bool:
        return packet_size(datagram) > self.mtu and (whole or not self.ip_fragments)

    def _translate(self, datagram: Datagram) -> Datagram | None:
        """Source NAT for nodes behind one; the ports shift so that nobody can overlook it."""
        outside = self.nat.get(datagram.source.address)
        if outside is not None:
            shift = self.nat_shifts.get(datagram.source.address, self.nat_shift)
            return replace(datagram, source=Endpoint(outside, datagram.source.port + shift))
        behind = [i for i, o in self.nat.items() if o == datagram.target.address]
        for inside in behind:
            port = datagram.target.port - self.nat_shifts.get(inside, self.nat_shift)
            if port in (500, 4500):
                return replace(datagram, target=Endpoint(inside, port))
        return None if behind else datagram

    def deliver(self, node: Node, datagram: Datagram) -> None:
        self.do(node, lambda now: node.engine.handle_datagram(datagram.target, datagram.source, datagram.data, now))

    def flow(self, sender: Node, receiver: Node, lost: list[float], *, every_s: float = 0.001, until: float) -> None:
        """Packets of a child, each on the newest outbound SA; ``lost`` gets the times of those nobody could decrypt."""

        def packet() -> None:
            sent_at = self.now
            out = [(sa, keys) for sa, keys in sender.sad.values() if sa.direction == Direction.OUT]
            used = out[-1] if out else None

            def arrive() -> None:
                held = receiver.sad.get(used[0].id) if used is not None else None
                if used is None or held is None or held[1] != used[1] or held[0].direction != Direction.IN:
                    lost.append(sent_at)

            self.at(self.now + self.latency_s, arrive)
            if self.now < until:
                self.at(self.now + every_s, packet)

        self.at(self.now, packet)

    def run(self, seconds: float) -> None:
        """Let virtual seconds pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            when, _, action = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            action()
        self.now = end


def selectors(*texts: str) -> tuple[TrafficSelector, ...]:
    return tuple(parse_selector(t) for t in texts)


def child(
    name: str = "lan",
    local: str = "10.1.1.0/24",
    remote: str = "10.1.2.0/24",
    *,
    esp: tuple[str, ...] = (ESP_PROPOSAL,),
    ah: tuple[str, ...] = (),
    start: Start = Start.START,
    reqid: int = 0x58000001,
    **more: object,
) -> ChildConfig:
    return ChildConfig(
        name=name,
        local_ts=selectors(*local.split(",")),
        remote_ts=selectors(*remote.split(",")),
        esp=tuple(parse_proposal(p, ProtocolId.AH if ah else ProtocolId.ESP) for p in ah or esp),
        start=start,
        reqid=reqid,
        **more,  # type: ignore[arg-type]
    )


def connection(
    local: str,
    remote: str | None,
    *children: ChildConfig,
    name: str = "net",
    ike: tuple[str, ...] = (IKE_PROPOSAL,),
    psk: bytes = PSK,
    **more: object,
) -> ConnectionConfig:
    defaults: dict[str, object] = {
        "retransmit": RetransmitPolicy(first_s=1, factor=2, tries=3),
        "retry": RetryPolicy(first_s=2, max_s=60),
        "local_id": Identity.of_address(ip_address(local)),
        "remote_id": Identity.of_address(ip_address(remote)) if remote else None,
        "unique": Unique.NO if remote else Unique.REPLACE,
    }
    return ConnectionConfig(
        name=name,
        local=ip_address(local),
        remote=ip_address(remote) if remote else None,
        psk=psk,
        ike=tuple(parse_proposal(p, ProtocolId.IKE) for p in ike),
        children=children,
        **(defaults | more),  # type: ignore[arg-type]
    )


ALICE, BOB = "172.16.1.1", "172.16.2.1"


def pair(
    world: World,
    *,
    alice: dict[str, object] | None = None,
    bob: dict[str, object] | None = None,
    alice_child: dict[str, object] | None = None,
    bob_child: dict[str, object] | None = None,
) -> tuple[Node, Node]:
    """Two gateways that fit each other; Bob only answers."""
    mirrored: dict[str, object] = {"local": "10.1.2.0/24", "remote": "10.1.1.0/24", "start": Start.NONE}
    a = world.add("alice", ALICE, connection(ALICE, BOB, child(**(alice_child or {})), **(alice or {})))  # type: ignore[arg-type]
    b = world.add("bob", BOB, connection(BOB, ALICE, child(**(mirrored | (bob_child or {}))), **(bob or {})))  # type: ignore[arg-type]
    return a, b


def matching(alice: Node, bob: Node) -> None:
    """Both kernels hold the same SAs with the same keys, mirrored."""
    assert alice.sad.keys() == bob.sad.keys()
    for sa_id, (sa, keys) in alice.sad.items():
        other, other_keys = bob.sad[sa_id]
        assert keys == other_keys
        assert sa.direction != other.direction
        assert sa.suite.encr == other.suite.encr
        assert sa.suite.esn == other.suite.esn


def start(world: World, *nodes: Node) -> None:
    for node in nodes:
        world.do(node, node.engine.start_all)
