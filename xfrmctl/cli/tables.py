"""What ``show`` prints on a wide terminal: a table of IKE SAs, one of CHILD SAs, and lines for what has no column."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from xfrmctl.cli import phrases
from xfrmctl.cli.cards import state
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, IkeInfo
from xfrmctl.model.words import duration

WIDE = 156
"""Columns from which on the tables can be read."""


def tables(chosen: list[ConnectionInfo]) -> Iterator[RenderableType]:
    """Everything of these connections."""
    yield _ike_table(chosen)
    for ike in (ike for connection in chosen for ike in connection.ike_sas):
        doing = phrases.under_way(ike)
        if ike.meaning != "both ends have proved their identity" or doing:
            yield Text(f"{ike.name}: {ike.meaning}" + (f"; {doing}" if doing else ""))
    table = _child_table(chosen)
    if table.row_count:
        yield table
        yield from _below(chosen)


def _ike_table(chosen: list[ConnectionInfo]) -> Table:
    table = Table(title="IKE SAs", title_justify="left", expand=True)
    for name in ("connection", "state", "local", "remote", "peer is", "suite, SPIs", "NAT", "age", "new keys", "heard"):
        table.add_column(name, overflow="fold")
    for connection in chosen:
        if not connection.ike_sas:
            ends = (connection.local, connection.remote)
            table.add_row(Text(connection.name), state(connection), *ends, *[""] * 6)
        for ike in connection.ike_sas:
            table.add_row(*_ike_row(connection, ike))
    return table


def _ike_row(connection: ConnectionInfo, ike: IkeInfo) -> tuple[RenderableType, ...]:
    rtt = f"\n{ike.rtt_s * 1000:.0f} ms" if ike.rtt_s is not None else ""
    return (
        Text(ike.name),
        state(connection) if ike.state == "established" else Text(ike.state, "yellow"),
        Text(ike.local),
        Text(ike.remote),
        Text(ike.remote_id + (f"\n{ike.remote_proof}" if ike.remote_proof else "")),
        Text(f"{ike.suite or ''}\n{ike.spi_initiator}\n{ike.spi_responder}"),
        phrases.nat(ike),
        duration(ike.age_s),
        duration(ike.rekey_in_s) if ike.rekey_in_s is not None else "never",
        f"{duration(ike.last_seen_s)} ago{rtt}",
    )


def _child_table(chosen: list[ConnectionInfo]) -> Table:
    table = Table(title="CHILD SAs", title_justify="left", expand=True)
    for name in ("child", "selectors", "SPIs in/out", "suite", "in", "out", "life", "MTU", "MSS", "DF"):
        table.add_column(name, overflow="fold")
    for connection in chosen:
        for child in phrases.children(connection):
            table.add_row(
                Text(_name(connection, child) + ("" if child.state == "installed" else f"\n{child.state}")),
                Text(phrases.selectors(child)),
                f"{child.inbound.spi}\n{child.outbound.spi}",
                "\n".join(filter(None, [child.suite + phrases.how(child, "\n"), phrases.options(child)])),
                phrases.traffic(child.inbound),
                phrases.traffic(child.outbound),
                phrases.life(child, "\n"),
                phrases.mtu(child, "\n"),
                phrases.mss(child),
                child.fragments.df if child.fragments is not None else "-",
            )
    return table


def _name(connection: ConnectionInfo, child: ChildInfo) -> str:
    return f"{connection.name}/{child.name}" + (f"\n{child.peer}" if child.peer else "")


def _below(chosen: list[ConnectionInfo]) -> Iterator[Text]:
    for connection in chosen:
        past = phrases.history(connection.history)
        if past:
            yield Text(f"{connection.name}: since the start {past}")
        for child in phrases.children(connection):
            name = _name(connection, child).replace("\n", " ")
            known = phrases.path(child)
            if known:
                yield Text(f"{name}: path {known}")
            yield from (Text(f"{name}: {text}") for text in phrases.fragments(child))
            if child.inbound.offload or child.outbound.offload:
                yield Text(f"{name}: offload {phrases.offload(child)}")
        yield from (Text(phrases.tunnel_line(c.tunnel)) for c in connection.children if c.tunnel is not None)
