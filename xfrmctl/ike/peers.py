"""The many peers of a connection that says ``remote.address: any``: who is who, their reqids, what each may carry.

An IKE SA belongs to a peer. A peer is an identity, whatever address it comes from and how often its IKE SA is made
anew; only with ``unique: no`` several may share an identity, and then each first IKE SA is a peer of its own. A peer
has a reqid for each of its children, by which the kernel tells its SAs and policies from those of all others.

A connection with one configured peer has the reqids of its configuration, and nobody it could quarrel with.
"""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256

from xfrmctl.ike.claims import Claim, Claims
from xfrmctl.ike.config import PEER_REQIDS, ChildConfig, ConnectionConfig, Unique
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.model.identity import Identity
from xfrmctl.model.selector import TrafficSelector


@dataclass(slots=True)
class Peer:
    """One of many. ``serials`` are its IKE SAs, ``reqids`` those of its children by name."""

    number: int
    identity: Identity
    serials: set[int] = field(default_factory=set)
    reqids: dict[str, int] = field(default_factory=dict)


class Peers:
    """The peers of all connections."""

    def __init__(self) -> None:
        self._by_identity: dict[tuple[str, Identity], dict[int, IkeSa]] = {}
        self._peers: dict[int, Peer] = {}
        self._by_number: dict[int, Peer] = {}
        self._claims: dict[str, Claims] = {}
        self._taken: set[int] = set()
        self._counts: Counter[str] = Counter()
        self._number = 0

    def alike(self, sa: IkeSa) -> list[IkeSa]:
        """The other IKE SAs of this connection whose peer has proved the same identity, oldest first."""
        if sa.remote_id is None:
            return []
        found = self._by_identity.get((sa.connection, sa.remote_id), {})
        return [other for other in found.values() if other is not sa]

    def join(self, sa: IkeSa, successor_of: IkeSa | None = None) -> None:
        """The peer of an IKE SA has proved its identity; a rekeyed one stays with the peer of its predecessor."""
        assert sa.remote_id is not None
        assert sa.config is not None
        others = self._by_identity.setdefault((sa.connection, sa.remote_id), {})
        if is_one_of_many(sa.config):
            known = None
            if successor_of is not None:
                known = self._peers.get(successor_of.serial)
            elif sa.config.unique != Unique.NO:
                known = next((self._peers[serial] for serial in reversed(others) if serial in self._peers), None)
            peer = known or self._new(sa.connection, sa.remote_id)
            peer.serials.add(sa.serial)
            self._peers[sa.serial] = peer
        others[sa.serial] = sa

    def leave(self, sa: IkeSa) -> None:
        """An IKE SA is gone, and with the last one its peer."""
        if sa.remote_id is not None:
            key = (sa.connection, sa.remote_id)
            others = self._by_identity.get(key, {})
            others.pop(sa.serial, None)
            if not others:
                self._by_identity.pop(key, None)
        peer = self._peers.pop(sa.serial, None)
        if peer is None:
            return
        peer.serials.discard(sa.serial)
        if not peer.serials:
            self._taken -= set(peer.reqids.values())
            self._counts[sa.connection] -= 1
            del self._by_number[peer.number]

    def count(self, connection: str) -> int:
        """How many peers a connection without a configured one has just now."""
        return self._counts[connection]

    def _new(self, connection: str, identity: Identity) -> Peer:
        self._number += 1
        self._counts[connection] += 1
        peer = self._by_number[self._number] = Peer(self._number, identity)
        return peer

    # -- in the kernel

    @property
    def reqids(self) -> frozenset[int]:
        """Those of all peers that are one of many."""
        return frozenset(self._taken)

    def reqid(self, sa: IkeSa, child: ChildConfig) -> int:
        """What the kernel knows this child of this peer by: the same number as long as the peer is there.

        It is a hash of the names, so that as a rule it is the same one the next time, too.
        """
        peer = self._peers.get(sa.serial)
        if peer is None:
            return child.reqid
        if child.name not in peer.reqids:
            name = f"{sa.connection}/{child.name}/{peer.identity}"
            slot = int.from_bytes(sha256(name.encode()).digest()[:4], "big") % len(PEER_REQIDS)
            while PEER_REQIDS[slot] in self._taken:
                slot = (slot + 1) % len(PEER_REQIDS)
            self._taken.add(PEER_REQIDS[slot])
            peer.reqids[child.name] = PEER_REQIDS[slot]
        return peer.reqids[child.name]

    # -- inner addresses

    def rival(
        self,
        sa: IkeSa,
        child: ChildConfig,
        local_ts: tuple[TrafficSelector, ...],
        remote_ts: tuple[TrafficSelector, ...],
    ) -> tuple[Identity, Claim] | None:
        """Another peer of the connection that has some of these packets, and which ones it has."""
        peer, claims = self._peers.get(sa.serial), self._claims.get(sa.connection)
        if peer is None or claims is None:
            return None
        found = claims.rival(Claim(peer.number, local_ts, remote_ts, child.if_id))
        return (self._by_number[found.owner].identity, found) if found is not None else None

    def claim(self, sa: IkeSa, child: ChildSa) -> None:
        """A CHILD SA takes its selectors."""
        peer = self._peers.get(sa.serial)
        if peer is not None:
            self._claims.setdefault(sa.connection, Claims()).add(_claim(peer, child))

    def release(self, sa: IkeSa, child: ChildSa) -> None:
        """A CHILD SA gives its selectors back."""
        peer, claims = self._peers.get(sa.serial), self._claims.get(sa.connection)
        if peer is not None and claims is not None:
            claims.remove(_claim(peer, child))
            if not claims:
                del self._claims[sa.connection]


def is_one_of_many(config: ConnectionConfig) -> bool:
    """Whether a connection serves whoever comes with the right proof, from wherever."""
    return config.remote is None


def _claim(peer: Peer, child: ChildSa) -> Claim:
    return Claim(peer.number, child.local_ts, child.remote_ts, child.config.if_id)
