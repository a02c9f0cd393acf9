"""One packet as one capture shows it. Sizes are bytes, ``at`` is seconds on the clock of the capturing host."""

from dataclasses import dataclass, field

from xfrmctl.model.address import IPAddress

ICMP, TCP, UDP, ESP, ICMPV6 = 1, 6, 17, 50, 58

INITIAL_TTLS = (64, 128, 255)
"""What systems begin with: Linux and BSD, Windows, routers."""


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP header. ``mss`` is None without the option; ``options`` are the kinds in their order, NOP left out."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    syn: bool
    ack: bool
    fin: bool
    rst: bool
    payload: int
    window: int
    mss: int | None = None
    options: tuple[int, ...] = ()

    @property
    def consumed(self) -> int:
        """How far the sequence number goes on behind this segment."""
        return self.payload + self.syn + self.fin


@dataclass(frozen=True, slots=True)
class Fragment:
    """Where a fragment belongs: ``offset`` in bytes; ``more`` says that it is not the last."""

    offset: int
    more: bool


@dataclass(frozen=True, slots=True)
class TooBig:
    """ICMP frag-needed (RFC 1191 4) or ICMPv6 Packet Too Big (RFC 4443 3.2), and the packet that it quotes."""

    mtu: int
    source: IPAddress
    destination: IPAddress
    protocol: int
    length: int
    source_port: int | None = None
    destination_port: int | None = None
    sequence: int | None = None
    spi: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """``number`` counts from 1 as Wireshark does. ``length`` is the size of the IP packet, header included.

    ``identification`` is None where there is no such field (IPv6 without a fragment header); ``spi`` is that of ESP,
    bare or in UDP 4500 (``encapsulated``). IPv6 packets have ``df`` set always.
    """

    number: int
    at: float
    source: IPAddress
    destination: IPAddress
    protocol: int
    length: int
    ttl: int
    df: bool = True
    identification: int | None = None
    fragment: Fragment | None = None
    tcp: Tcp | None = None
    source_port: int | None = None
    destination_port: int | None = None
    too_big: TooBig | None = None
    spi: int | None = None
    encapsulated: bool = False

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.source.version

    @property
    def initial_ttl(self) -> int:
        """What the sender began with: the next of :data:`INITIAL_TTLS` that is not smaller."""
        return next(ttl for ttl in INITIAL_TTLS if ttl >= self.ttl)

    @property
    def hops(self) -> int:
        """How many routers the packet has passed since it was sent, by its TTL."""
        return self.initial_ttl - self.ttl


@dataclass(slots=True)
class Point:
    """One capture: where it was taken, what it shows, and how complete it is.

    ``damage`` says at which byte and why reading ended early, "" where the file is whole; ``unread`` counts frames
    that are not IP or that are too short to be read.
    """

    name: str
    packets: list[Seen] = field(default_factory=list)
    damage: str = ""
    unread: int = 0
    limited: bool = False
