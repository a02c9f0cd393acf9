"""What was gathered: plain values, nothing judged yet. Sizes are bytes, ``*_s`` seconds, ``wall`` since the epoch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from xfrmctl.model.address import IPAddress
from xfrmctl.model.sa import DataPlane, Mode
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildFacts:
    """One child as it is configured. ``mtu`` is a written outer MTU, None for auto; ``esp`` spelled proposals."""

    connection: str
    name: str
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    dataplane: DataPlane = DataPlane.POLICY
    mode: Mode = Mode.TUNNEL
    if_id: int = 0
    interface: str | None = None
    mtu: int | None = None
    marked: bool = False
    esp: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """A certificate of ours."""

    subject: str
    valid_from: float
    valid_to: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFacts:
    """One connection as it is configured. ``auth`` is how the peer proves itself: psk, certificate or key."""

    name: str
    local: IPAddress | None
    remote: IPAddress | None
    local_id: str
    remote_id: str
    auth: str
    ike: tuple[str, ...]
    children: tuple[ChildFacts, ...]
    certificate: CertificateFacts | None = None


class Answer(Enum):
    """What came back from a probe of a peer.

    REFUSED: the peer's host says that nobody listens. UNREACHABLE: a router or our own host says that there is no way.
    """

    ANSWERED = "answered"
    SILENT = "silent"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerProbe:
    """A peer, asked by strangers' means: IKE of an unknown version on both ports (RFC 7296 2.5), ICMP echo.

    ``detail`` is what the host says of an unreachable one.
    """

    ike: Answer
    nat_t: Answer
    echo: Answer
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything. ``before`` and ``after`` are ``seconds`` apart; both are None where no daemon runs."""

    wall: float
    connections: tuple[ConnectionFacts, ...]
    before: Snapshot | None = None
    after: Snapshot | None = None
    seconds: float = 0.0
    daemon_fault: str = ""
    probes: Mapping[str, PeerProbe] = field(default_factory=dict)

    def connection_infos(self) -> "Iterator[tuple[ConnectionFacts, ConnectionInfo]]":
        """Each chosen connection with its state now."""
        known = {c.name: c for c in self.after.connections} if self.after is not None else {}
        for connection in self.connections:
            if connection.name in known:
                yield connection, known[connection.name]

    def children(self) -> "Iterator[ChildFacts]":
        """Every child of every chosen connection."""
        for connection in self.connections:
            yield from connection.children

    def up(self, child: ChildFacts) -> "list[ChildInfo]":
        """The CHILD SAs of a child, oldest first."""
        return children_of(self.after, child.connection, child.name)


def children_of(snapshot: Snapshot | None, connection: str, child: str) -> list[ChildInfo]:
    """The CHILD SAs of this name, in the order of the snapshot."""
    connections: Sequence[ConnectionInfo] = snapshot.connections if snapshot is not None else ()
    return [
        c for found in connections if found.name == connection for ike in found.ike_sas for c in ike.children
        if c.name == child
    ]  # fmt: skip
