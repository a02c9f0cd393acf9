"""Packets that go one way, conditions of rules, rules and chains.

A packet here stands for many: those from one network to another. So a condition fits all of them, a part, or none; or
nobody can say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Protocol as Interface

from xfrmctl.model.address import IPNetwork


class Fit(IntEnum):
    """How many of the packets a condition fits; the least of several conditions holds for all together."""

    NO = 0
    UNKNOWN = 1
    PART = 2
    ALL = 3


INVERSE = {Fit.NO: Fit.ALL, Fit.ALL: Fit.NO, Fit.PART: Fit.PART, Fit.UNKNOWN: Fit.UNKNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """Packets that are alike. ``protocol`` None is any; devices are None where unknown, "" where there is none.

    ``state`` is conntrack's. ``decrypted``: they came out of an SA; ``encrypts``: a policy will encrypt them.
    ``fragment``: later fragments, without ports. ``syn``: only such as open a TCP connection.
    """

    source: IPNetwork
    destination: IPNetwork
    in_dev: str | None = None
    out_dev: str | None = None
    protocol: int | None = None
    port: int | None = None
    state: str = "new"
    decrypted: bool = False
    encrypts: bool = False
    fragment: bool = False
    syn: bool = False


class Condition(Interface):
    """A match of a rule."""

    def fit(self, packet: Packet) -> Fit:
        """How many of the packets it fits."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """``field``: source or destination."""

    field: str
    networks: tuple[IPNetwork, ...]

    def fit(self, packet: Packet) -> Fit:
        """ALL where one network holds all of them."""
        mine: IPNetwork = getattr(packet, self.field)
        alike = [n for n in self.networks if n.version == mine.version]
        if any(_within(mine, n) for n in alike):
            return Fit.ALL
        return Fit.PART if any(mine.overlaps(n) for n in alike) else Fit.NO


def _within(one: IPNetwork, other: IPNetwork) -> bool:
    return one.prefixlen >= other.prefixlen and one.network_address in other


@dataclass(frozen=True, slots=True)
class Devices:
    """``field``: in_dev or out_dev; ``patterns`` may end in ``*``."""

    field: str
    patterns: tuple[str, ...]

    def fit(self, packet: Packet) -> Fit:
        """UNKNOWN where the device is."""
        name: str | None = getattr(packet, self.field)
        if name is None:
            return Fit.UNKNOWN
        return Fit.ALL if any(fnmatchcase(name, p) for p in self.patterns) else Fit.NO


@dataclass(frozen=True, slots=True)
class Protocols:
    """Numbers of IANA."""

    numbers: frozenset[int]

    def fit(self, packet: Packet) -> Fit:
        """PART of packets of any protocol."""
        if packet.protocol is None:
            return Fit.PART
        return Fit.ALL if packet.protocol in self.numbers else Fit.NO


@dataclass(frozen=True, slots=True)
class Ports:
    """Destination ports, inclusive; source ports are ``far``, of which nothing is known."""

    ranges: tuple[tuple[int, int], ...]
    far: bool = False

    def fit(self, packet: Packet) -> Fit:
        """Later fragments have no ports."""
        if packet.fragment:
            return Fit.NO
        if packet.port is None or self.far:
            return Fit.PART
        return Fit.ALL if any(low <= packet.port <= high for low, high in self.ranges) else Fit.NO


@dataclass(frozen=True, slots=True)
class States:
    """States of conntrack, in small letters."""

    names: frozenset[str]

    def fit(self, packet: Packet) -> Fit:
        """ALL or NO."""
        return Fit.ALL if packet.state in self.names else Fit.NO


@dataclass(frozen=True, slots=True)
class Ipsec:
    """Whether packets came out of an SA (``inbound``), or will go into one."""

    inbound: bool

    def fit(self, packet: Packet) -> Fit:
        """ALL or NO."""
        return Fit.ALL if (packet.decrypted if self.inbound else packet.encrypts) else Fit.NO


@dataclass(frozen=True, slots=True)
class Fragments:
    """Second and further fragments."""

    def fit(self, packet: Packet) -> Fit:
        """ALL or NO."""
        return Fit.ALL if packet.fragment else Fit.NO


@dataclass(frozen=True, slots=True)
class Syn:
    """TCP SYN, with or without ACK."""

    def fit(self, packet: Packet) -> Fit:
        """ALL for those that are known to be."""
        return Fit.ALL if packet.syn else Fit.PART


@dataclass(frozen=True, slots=True)
class Version:
    """4 or 6."""

    number: int

    def fit(self, packet: Packet) -> Fit:
        """ALL or NO."""
        return Fit.ALL if packet.source.version == self.number else Fit.NO


@dataclass(frozen=True, slots=True)
class Other:
    """Something that is not understood here."""

    text: str

    def fit(self, packet: Packet) -> Fit:
        """Nobody knows."""
        del packet
        return Fit.UNKNOWN


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    condition: Condition

    def fit(self, packet: Packet) -> Fit:
        """None of those, all others."""
        return INVERSE[self.condition.fit(packet)]


ACCEPT, DROP, REJECT, RETURN, JUMP, GOTO, SNAT, MSS, NOTHING = (
    "accept", "drop", "reject", "return", "jump", "goto", "snat", "mss", "",
)  # fmt: skip
"""Verdicts; NOTHING lets the next rule have its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. ``target``: the chain of a jump. ``packets`` None where it does not count."""

    text: str
    conditions: tuple[Condition, ...]
    verdict: str
    target: str = ""
    packets: int | None = None

    def fit(self, packet: Packet) -> Fit:
        """How many of the packets it takes."""
        return min((c.fit(packet) for c in self.conditions), default=Fit.ALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain; ``hook`` is "" where no packet comes by itself, else prerouting, input, forward, output, postrouting."""

    name: str
    rules: tuple[Rule, ...]
    hook: str = ""
    priority: int = 0
    policy: str = ACCEPT
    policy_packets: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Chains that may jump to one another. ``source``: iptables-nft, iptables-legacy, nft. ``version`` 0 is both."""

    source: str
    version: int
    name: str
    chains: Mapping[str, Chain]

    def __str__(self) -> str:
        family = {4: "ip", 6: "ip6", 0: "inet"}[self.version]
        return f"{self.source} table {family} {self.name}"
