"""What the black-hole matrix consists of, as data.

A cell is one tunnel between two gateways, one thing that happens to the path, and one fate of ICMP. ``ends`` says whose
gateways they are; ``none`` is the comparison: strongSwan at both ends, so nobody's path-MTU engine.
"""

import functools
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab.matrix import pairwise
from xfrmctl.model.sa import Mode
from xfrmctl.model.tunnel import Tunnel, TunnelType
from xfrmctl.pmtu.overhead import inner_mtu, outer_mtu_for
from xfrmctl.pmtu.spelling import parse_suite

COMPARISON = "none"
ENDS = {
    "ours": "xfrmctl at both ends",
    "strongswan": "xfrmctl and strongSwan",
    "libreswan": "xfrmctl and libreswan",
}

#: The columns of a cell and their values; the words are those of the document.
COLUMNS: dict[str, dict[str, str]] = {
    "ends": ENDS,
    "inner": {"4": "IPv4 inside", "6": "IPv6 inside"},
    "outer": {"4": "IPv4 outside", "6": "IPv6 outside"},
    "carrier": {"esp": "bare ESP", "udp": "ESP in UDP"},
    "plane": {"policy": "policies", "interface": "xfrm interface", "gre": "GRE over transport mode"},
    "cipher": {"gcm": "AES-GCM", "cbc": "AES-CBC with SHA2-256"},
    "event": {
        "start1500": "starts at 1500",
        "start1492": "starts at 1492",
        "start1400": "starts at 1400",
        "startlow": "starts at 1280 (IPv6 outside) or 1000 (IPv4)",
        "recover": "1400 becomes 1500 again",
        "drop": "1500 becomes 1400 in mid-flow",
        "jumbo": "9000 becomes 1500 in mid-flow",
    },
    "icmp": {
        "delivered": "delivered",
        "outer": "filtered on the outer path",
        "hosts": "filtered towards inner hosts",
        "both": "filtered on the outer path and towards inner hosts",
        "forged": "delivered, and others forged with a low MTU",
        "fragments": "delivered, and others forged in IP fragments",
        "zero": "delivered with a next-hop MTU of 0",
    },
}
#: What makes a tunnel; the other columns happen to it.
TUNNEL = ("ends", "inner", "outer", "carrier", "plane", "cipher")
CIPHERS = {"gcm": "aes256gcm16", "cbc": "aes256-sha256"}
LOW = {4: 1000, 6: 1280}
"""The narrowest start, by the outer family: IPv6 has no link below 1280 (RFC 8200 5)."""
WIDE, JUMBO = 1500, 9000
GRE = Tunnel(type=TunnelType.GRE, interface="gre0")
"""What a GRE device puts before a packet, whatever its name is."""

#: Cells that have failed once, one id a line: `make test` tries them for ever.
EVER_FAILED = Path(__file__).with_name("ever_failed.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the matrix."""

    ends: str
    inner: str
    outer: str
    carrier: str
    plane: str
    cipher: str
    event: str
    icmp: str

    @property
    def id(self) -> str:
        """Unique; the test's id."""
        family = f"{self.inner}in{self.outer}"
        return "-".join((self.ends, family, self.carrier, self.plane, self.cipher, self.event, self.icmp))

    @property
    def tunnel(self) -> tuple[str, ...]:
        """What it shares with the other cells of the same tunnel."""
        return tuple(getattr(self, name) for name in TUNNEL)

    @property
    def link(self) -> int:
        """The MTU of all links but the narrow one, bytes."""
        return JUMBO if self.event == "jumbo" else WIDE

    @property
    def before(self) -> int | None:
        """What the path carries before the event, bytes; None where the tunnel begins with the event."""
        return {"drop": WIDE, "recover": 1400, "jumbo": JUMBO}.get(self.event)

    @property
    def after(self) -> int:
        """What the path carries from the event on, bytes."""
        low = LOW[int(self.outer)]
        return {"start1492": 1492, "start1400": 1400, "startlow": low, "drop": 1400}.get(self.event, WIDE)

    @property
    def exact(self) -> int:
        """The inner MTU that must be reached: the formula's."""
        return self.exact_for(self.after)

    def exact_for(self, path: int) -> int:
        """The inner MTU where the path carries ``path`` bytes."""
        suite, encap = parse_suite(CIPHERS[self.cipher]), self.carrier == "udp"
        if self.plane == "gre":
            return inner_mtu(path, suite, int(self.outer), encap, Mode.TRANSPORT, GRE)
        return inner_mtu(path, suite, int(self.outer), encap)

    def outer_for(self, inner: int) -> int:
        """The smallest path that carries inner packets of so many bytes in one piece, without a device between."""
        return outer_mtu_for(inner, parse_suite(CIPHERS[self.cipher]), int(self.outer), self.carrier == "udp")


def possible(row: Mapping[str, str]) -> bool:
    """Whether there is such a cell. Devices for GRE are made by gateways of ours: a foreign one knows of none."""
    return row.get("plane") != "gre" or row.get("ends", "ours") == "ours"


def parse(name: str) -> Cell:
    """The cell with this id. Raises ValueError for anything else."""
    words = name.split("-")
    if len(words) == 7 and len(families := words[1].split("in")) == 2:
        ends, _, carrier, plane, cipher, event, icmp = words
        row = {"ends": ends, "inner": families[0], "outer": families[1], "carrier": carrier, "plane": plane}
        row |= {"cipher": cipher, "event": event, "icmp": icmp}
        known = COLUMNS | {"ends": ENDS | {COMPARISON: ""}}
        if possible(row) and all(row[column] in values for column, values in known.items()):
            return Cell(**row)
    raise ValueError(f"no cell of the black-hole matrix: {name}")


@functools.cache
def every(ends: str) -> tuple[Cell, ...]:
    """All cells with these ends, in the order in which they are tried."""
    others = [name for name in COLUMNS if name != "ends"]
    values = itertools.product(*(COLUMNS[name] for name in others))
    rows = ({"ends": ends, **dict(zip(others, row, strict=True))} for row in values)
    return ordered(Cell(**row) for row in rows if possible(row))


def ordered(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Those of one tunnel together, of these those with one fate of ICMP, of these in the order of the events.

    A tunnel that starts at 1400 is the last of those that start: what recovers goes on with it.
    """
    ranks = {name: {value: at for at, value in enumerate(values)} for name, values in COLUMNS.items()}
    events = ranks["event"]
    events["start1400"], events["startlow"] = events["startlow"], events["start1400"]
    ranks["ends"] = ranks["ends"] | {COMPARISON: len(ENDS)}

    def rank(cell: Cell) -> tuple[int, ...]:
        return tuple(ranks[name][getattr(cell, name)] for name in (*TUNNEL, "icmp", "event"))

    return tuple(sorted(set(cells), key=rank))


@functools.cache
def covering() -> tuple[Cell, ...]:
    """Cells of which each two values of different columns are together in at least one."""
    columns = {name: list(values) for name, values in COLUMNS.items()}
    return ordered(Cell(**row) for row in pairwise.rows(columns, possible))


def ever_failed() -> tuple[Cell, ...]:
    """Those that have failed once. Raises ValueError where the file names what is no cell."""
    lines = EVER_FAILED.read_text().splitlines()
    return ordered(parse(line) for line in lines if line and not line.startswith("#"))


def chosen(ends: str) -> tuple[Cell, ...]:
    """The cells of every test run with these ends."""
    return ordered(cell for cell in (*covering(), *ever_failed()) if cell.ends == ends)
