"""``xfrmctl top``: which tunnels are busy, and which are in trouble, as it happens."""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from xfrmctl.cli.columns import Column, lay
from xfrmctl.cli.filters import Address, Carries, Child, Names, Peer, Spi, State, filters
from xfrmctl.cli.interrupt import until_interrupted
from xfrmctl.cli.keys import keys
from xfrmctl.cli.rates import SORTS, Rate, Rates, in_order, rates
from xfrmctl.cli.session import Json, console, print_json, print_line, session
from xfrmctl.model.words import count, duration, plural, rate

if TYPE_CHECKING:
    from xfrmctl.control.client import ControlClient

Sort = Literal["traffic", "in", "out", "packets", "errors", "rekeys", "mtu", "age", "state", "name"]
"""The words of ``rates.SORTS``."""

HEAD = 5
"""Lines above the children."""


def top(
    context: typer.Context,
    connections: Names = None,
    child: Child = None,
    state: State = None,
    peer: Peer = None,
    address: Address = None,
    carries: Carries = None,
    spi: Spi = None,
    sort: Annotated[Sort, typer.Option("--sort", "-s", help="What stands first.")] = "traffic",
    interval: Annotated[
        float, typer.Option("--interval", "-i", metavar="SECONDS", min=0.1, help="Time between two looks.")
    ] = 2.0,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="So many children; as many as fit on a terminal.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Two looks, one table, and the end.")] = False,
    as_json: Json = False,
) -> None:
    """Watch rates, path MTU, rekeys and errors of the children, the busiest first.

    Keys: t traffic, i in, o out, p packets, e errors, k rekeys, m MTU, a age, s state, n name; r turns the
    order round, q ends. Rates are those between two looks at the kernel's counters. With --json there is one
    object a look, a line each; with --once one of them.

    Example: `xfrmctl top --sort errors`, `xfrmctl top 'branch-*' --once --limit 10`, `xfrmctl top --once
    --json | jq '.children[] | select(.new_errors > 0)'`
    """
    client = session(context, as_json).client()
    query = filters(connections, child, state, peer, address, carries, spi)
    with until_interrupted():
        if once or as_json or not console().is_terminal:
            _print(client, query, sort, interval, limit, once=once, as_json=as_json)
        else:
            _live(client, query, sort, interval, limit)


def _looks(client: "ControlClient", query: list[tuple[str, str]], interval: float) -> Iterator[Rates]:
    """What has happened between each two looks, for ever."""
    before = client.traffic(query)
    while True:
        time.sleep(interval)
        now = client.traffic(query)
        yield rates(before, now)
        before = now


def _print(
    client: "ControlClient",
    query: list[tuple[str, str]],
    by: str,
    interval: float,
    limit: int | None,
    *,
    once: bool,
    as_json: bool,
) -> None:
    for found in _looks(client, query, interval):
        shown = in_order(found.children, by)[:limit]
        if as_json:
            (print_json if once else print_line)(asdict(replace(found, children=shown)))
        else:
            print("\n".join(table(found, shown, by, console().width)), flush=True)
        if once:
            return


def _live(client: "ControlClient", query: list[tuple[str, str]], by: str, interval: float, limit: int | None) -> None:
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    out, backwards = console(), False
    before = client.traffic(query)
    found = rates(before, before)
    by_key = {key: name for name, (key, _) in SORTS.items()}
    with keys() as typed, Live(console=out, screen=True, auto_refresh=False) as live:
        due = time.monotonic() + min(interval, 1.0)
        while True:
            room = max(1, out.height - HEAD)
            shown = in_order(found.children, by, backwards=backwards)[: min(limit or room, room)]
            lines = [*table(found, shown, by, out.width, backwards=backwards)]
            live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
            key = typed.wait(max(0.0, due - time.monotonic()))
            if key == "q":
                return
            by, backwards = by_key.get(key, by), backwards ^ (key == "r")
            if time.monotonic() >= due:
                now = client.traffic(query)
                found, before = rates(before, now), now
                due = time.monotonic() + interval


def table(found: Rates, shown: list[Rate], by: str, width: int, *, backwards: bool = False) -> Iterator[str]:
    """Three lines about the gateway, an empty one, titles, and a line for each child."""
    stamp = datetime.fromtimestamp(found.at).strftime("%H:%M:%S")
    text = f"{stamp} up {duration(found.uptime_s)}: {found.up} of {plural(found.configured, 'connection')} up, "
    yield text + plural(found.ike_sas, "IKE SA") + (f", {found.half_open} half-open" if found.half_open else "")
    text = f"in {rate(found.bits_in)}, {count(round(found.packets_in))} packets/s"
    yield f"{text}; out {rate(found.bits_out)}, {count(round(found.packets_out))} packets/s"
    text = f"failures {found.failures}{_new(found.new_failures)}, IKE rekeys {found.ike_rekeys}"
    text += f", xfrm errors {found.kernel_errors}{_new(found.new_kernel_errors)}"
    left = len(found.children) - len(shown)
    text += f"; {len(shown)} of {len(found.children)} children" if left else f"; children {len(shown)}"
    yield f"{text}, by {by}{' turned round' if backwards else ''}"
    yield ""
    columns = (
        Column("child", 0, 12),
        Column("state", 3, 4),
        Column("in", 0, 6, right=True),
        Column("out", 0, 6, right=True),
        Column("packets/s", 2, 9, right=True),
        Column("errors", 1, 6, right=True),
        Column("MTU", 1, 4, right=True),
        Column("MSS", 4, 4, right=True),
        Column("rekeys", 1, 6, right=True),
        Column("age", 5, 5, right=True),
        Column("by", 7, 5),
        Column("peer", 6, 12),
    )
    yield from lay(columns, [_row(r) for r in shown], width)


def _row(found: Rate) -> list[str]:
    return [
        f"{found.connection}/{found.child}",
        found.state,
        rate(found.bits_in) if found.bits_in else "0",
        rate(found.bits_out) if found.bits_out else "0",
        count(round(found.packets_in + found.packets_out)),
        f"{count(found.errors)}{_new(found.new_errors)}",
        str(found.inner_mtu or "-"),
        str(found.mss or "-"),
        f"{count(found.rekeys)}{_new(found.new_rekeys)}",
        duration(found.age_s),
        found.source.partition(":")[0] or "-",
        found.peer,
    ]


def _new(number: int) -> str:
    return f" +{number}" if number else ""
