"""``show --brief``: one line a CHILD SA, thousands of them in a second. Plain text, no tables of rich's."""

from collections.abc import Iterable, Iterator

from xfrmctl.cli import phrases
from xfrmctl.cli.columns import Column, lay
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, IkeInfo
from xfrmctl.model.words import count, duration, size

MANY = 50
"""Children from which on ``show`` prints one line each, unless it is told otherwise."""


COLUMNS = (
    Column("child", 0, 12),
    Column("state", 0, 5),
    Column("peer", 1, 12),
    Column("in", 0, 6, right=True),
    Column("out", 0, 6, right=True),
    Column("drops", 2, 5, right=True),
    Column("MTU", 3, 4, right=True),
    Column("MSS", 4, 4, right=True),
    Column("by", 6, 5),
    Column("age", 5, 4, right=True),
    Column("SPI in", 7, 10),
    Column("SPI out", 8, 10),
    Column("ends in", 9, 6, right=True),
    Column("identity", 10, 12),
    Column("suite", 11, 12),
)
"""In the order of printing."""


def brief(chosen: Iterable[ConnectionInfo], width: int) -> Iterator[str]:
    """A line of titles, then one for each CHILD SA and each configured child without."""
    return lay(COLUMNS, [row for connection in chosen for row in _rows(connection)], width)


def _rows(connection: ConnectionInfo) -> Iterator[list[str]]:
    up = set()
    for ike in connection.ike_sas:
        for child in ike.children:
            up.add(child.name)
            yield _row(connection, ike, child)
    states = [ike.state for ike in connection.ike_sas if ike.state != "established"]
    for configured in connection.children:
        if configured.name not in up:
            state = states[-1] if states and configured.state == "connecting" else configured.state
            if configured.state != "up":  # else a filter has left its SA out
                name = f"{connection.name}/{configured.name}"
                yield [name, state, connection.remote, *[""] * (len(COLUMNS) - 3)]


def _row(connection: ConnectionInfo, ike: IkeInfo, child: ChildInfo) -> list[str]:
    inbound, outbound = child.inbound, child.outbound
    drops = inbound.integrity_failures + inbound.replay_drops + inbound.late_drops
    ends = [s.hard_expires_in_s for s in (inbound, outbound) if s.hard_expires_in_s is not None]
    return [
        f"{connection.name}/{child.name}",
        "up" if child.state == "installed" else child.state,
        ike.remote.rpartition(":")[0].strip("[]"),
        "gone" if inbound.missing else size(inbound.bytes),
        "gone" if outbound.missing else size(outbound.bytes),
        count(drops) if drops else "-",
        str(child.mtu.inner_mtu) if child.mtu is not None else "-",
        phrases.mss(child),
        child.mtu.source.partition(":")[0] if child.mtu is not None else "-",
        duration(child.established_s),
        inbound.spi,
        outbound.spi,
        duration(min(ends)) if ends else "never",
        ike.remote_id,
        child.suite,
    ]
