"""Two looks at the counters -> what each child does in a second. Pure; counters begin anew with every SA."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xfrmctl.model.traffic import Traffic, TrafficRow

Key = tuple[str, str, str]
"""Connection, child, and peer where there are many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One child, all its SAs together; of the newest one MTU and age. Rates are per second.

    ``errors`` are packets dropped inbound by the SAs that stand now, ``new_errors`` those since the last look;
    ``new_rekeys`` likewise.
    """

    connection: str
    child: str
    peer: str
    state: str
    bits_in: float
    bits_out: float
    packets_in: float
    packets_out: float
    errors: int
    new_errors: int
    rekeys: int
    new_rekeys: int
    inner_mtu: int | None
    source: str
    mss: int | None
    age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """All children that are looked at, unsorted, and the gateway as a whole; ``new_*`` is since the last look."""

    at: float
    interval_s: float
    uptime_s: float
    configured: int
    up: int
    half_open: int
    ike_sas: int
    failures: int
    new_failures: int
    ike_rekeys: int
    kernel_errors: int
    new_kernel_errors: int
    bits_in: float
    bits_out: float
    packets_in: float
    packets_out: float
    children: list[Rate]


Order = Callable[["Rate"], Any]

SORTS: dict[str, tuple[str, Order]] = {
    "traffic": ("t", lambda r: -(r.bits_in + r.bits_out)),
    "in": ("i", lambda r: -r.bits_in),
    "out": ("o", lambda r: -r.bits_out),
    "packets": ("p", lambda r: -(r.packets_in + r.packets_out)),
    "errors": ("e", lambda r: (-r.new_errors, -r.errors)),
    "rekeys": ("k", lambda r: -r.rekeys),
    "mtu": ("m", lambda r: r.inner_mtu if r.inner_mtu is not None else 1 << 16),
    "age": ("a", lambda r: r.age_s if r.age_s is not None else float("inf")),
    "state": ("s", lambda r: (r.state == "up", r.state)),
    "name": ("n", lambda r: ()),
}
"""How children may be sorted, and the key that asks for it; equals stand by their names."""


def in_order(children: list[Rate], by: str, *, backwards: bool = False) -> list[Rate]:
    """The children in that order."""
    _, key = SORTS[by]
    return sorted(children, key=lambda r: (key(r), r.connection, r.child, r.peer), reverse=backwards)


def rates(before: Traffic, now: Traffic) -> Rates:
    """What has happened between two looks; an SA that is new has done everything since."""
    seconds = max(now.clock_s - before.clock_s, 1e-3)
    known = {(r.spi_in, r.spi_out): r for r in before.rows if r.spi_in}
    rekeys = {_key(r): r.rekeys for r in before.rows}
    grouped: dict[Key, list[TrafficRow]] = {}
    for row in now.rows:
        grouped.setdefault(_key(row), []).append(row)
    children = [_rate(rows, known, rekeys.get(key), seconds) for key, rows in grouped.items()]
    return Rates(
        at=now.at,
        interval_s=seconds,
        uptime_s=now.uptime_s,
        configured=now.configured,
        up=now.up,
        half_open=now.half_open,
        ike_sas=now.ike_sas,
        failures=now.failures,
        new_failures=max(0, now.failures - before.failures),
        ike_rekeys=now.ike_rekeys,
        kernel_errors=now.kernel_errors,
        new_kernel_errors=max(0, now.kernel_errors - before.kernel_errors),
        bits_in=sum(c.bits_in for c in children),
        bits_out=sum(c.bits_out for c in children),
        packets_in=sum(c.packets_in for c in children),
        packets_out=sum(c.packets_out for c in children),
        children=children,
    )


def _key(row: TrafficRow) -> Key:
    return row.connection, row.child, row.peer


def _rate(rows: list[TrafficRow], known: dict[tuple[str, str], TrafficRow], rekeys: int | None, seconds: float) -> Rate:
    newest = min(rows, key=lambda r: r.age_s if r.age_s is not None else float("inf"))
    bytes_in = bytes_out = packets_in = packets_out = new_errors = 0
    for row in rows:
        if not row.spi_in:
            continue
        old = known.get((row.spi_in, row.spi_out))
        bytes_in += max(0, row.bytes_in - (old.bytes_in if old else 0))
        bytes_out += max(0, row.bytes_out - (old.bytes_out if old else 0))
        packets_in += max(0, row.packets_in - (old.packets_in if old else 0))
        packets_out += max(0, row.packets_out - (old.packets_out if old else 0))
        new_errors += max(0, _errors(row) - (_errors(old) if old else 0))
    return Rate(
        connection=newest.connection,
        child=newest.child,
        peer=newest.peer,
        state=newest.state,
        bits_in=8 * bytes_in / seconds,
        bits_out=8 * bytes_out / seconds,
        packets_in=packets_in / seconds,
        packets_out=packets_out / seconds,
        errors=sum(map(_errors, rows)),
        new_errors=new_errors,
        rekeys=newest.rekeys,
        new_rekeys=max(0, newest.rekeys - rekeys) if rekeys is not None else 0,
        inner_mtu=newest.inner_mtu,
        source=newest.source,
        mss=newest.mss,
        age_s=newest.age_s,
    )


def _errors(row: TrafficRow) -> int:
    return row.integrity + row.replay
