"""``xfrmctl show``: what is up, what is down, and why."""

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from xfrmctl.cli.filters import Address, Carries, Child, Names, Peer, Spi, State, filters
from xfrmctl.cli.interrupt import until_interrupted
from xfrmctl.cli.outcome import FAILED
from xfrmctl.cli.session import Json, console, print_json, print_line, session

if TYPE_CHECKING:
    from rich.console import RenderableType

    from xfrmctl.control.client import ControlClient
    from xfrmctl.model.snapshot import Snapshot

Watch = Annotated[
    float | None,
    typer.Option("--watch", "-w", metavar="SECONDS", min=0.1, help="Look again every so many seconds, until ^C."),
]
Times = Annotated[int | None, typer.Option("--times", min=1, help="With --watch: end after so many looks.")]


def show(
    context: typer.Context,
    connections: Names = None,
    child: Child = None,
    state: State = None,
    peer: Peer = None,
    address: Address = None,
    carries: Carries = None,
    spi: Spi = None,
    brief: Annotated[
        bool | None,
        typer.Option("--brief/--full", "-b/-f", help="One line a CHILD SA, as usual from 50 on; or everything."),
    ] = None,
    watch: Watch = None,
    times: Times = None,
    as_json: Json = False,
) -> None:
    """Show IKE SAs and CHILD SAs: states, SPIs, suites, counters, lifetimes, MTU, MSS, DF.

    Connections that are down are shown with their last failure, its cause and cure, and what each side
    offered. Several filters mean all of them, several values of one any of them. With one connection's name
    the exit code is 1 unless it is up; with filters, 1 where nothing matches.

    Example: `xfrmctl show branch-7`, `xfrmctl show --state not-up`, `xfrmctl show --carries 10.1.2.10`,
    `xfrmctl show 'branch-*' --brief --watch 2`, `xfrmctl show --json | jq '.connections[] |
    select(.state != "up") | .name'`
    """
    client = session(context, as_json).client()
    query = filters(connections, child, state, peer, address, carries, spi)
    one = connections[0] if connections and len(query) == 1 and not set("*?[") & set(connections[0]) else None
    code = 0
    with until_interrupted() if watch is not None else nullcontext():
        for look in _looks(watch, times):
            if as_json:
                code = _as_json(client, query, one, compact=watch is not None)
                continue
            snapshot = client.status(query)
            code = _code(snapshot, one, filtered=bool(query))
            _display(snapshot, brief, whole=not query, clear=watch is not None, first=look == 0)
    if code and watch is None:
        raise typer.Exit(code)


def _looks(watch: float | None, times: int | None) -> Iterator[int]:
    """Numbers of the looks, each at its time."""
    look = 0
    while True:
        yield look
        look += 1
        if watch is None or look == times:
            return
        time.sleep(watch)


def _as_json(client: "ControlClient", query: list[tuple[str, str]], one: str | None, *, compact: bool) -> int:
    """The daemon's own words; of one connection itself, not the gateway around it."""
    status = client.status_json(query)
    value = status["connections"][0] if one is not None else status
    if compact:
        print_line(value)
    else:
        print_json(value)
    found = status["connections"]
    if one is not None:
        return 0 if value["state"] == "up" else FAILED
    return FAILED if query and not found else 0


def _code(snapshot: "Snapshot", one: str | None, *, filtered: bool) -> int:
    if one is not None:
        return 0 if snapshot.connections[0].state == "up" else FAILED
    return FAILED if filtered and not snapshot.connections else 0


def _display(snapshot: "Snapshot", brief: bool | None, *, whole: bool, clear: bool, first: bool) -> None:
    out = console()
    if clear and out.is_terminal:
        out.clear()
    elif clear and not first:
        out.print()
    room = out.height - 2 if clear and out.is_terminal else None
    from rich.console import Group  # noqa: PLC0415  not for --help
    from rich.segment import Segments  # noqa: PLC0415

    lines = list(_parts(snapshot, brief, out.width, whole=whole))
    if room is None:
        for part in lines:
            if isinstance(part, str):
                sys.stdout.write(part + "\n")
            else:
                out.print(part)
        sys.stdout.flush()
        return
    rendered = out.render_lines(Group(*lines), pad=False)
    for line in rendered[:room]:
        out.print(Segments(line))
    if len(rendered) > room:
        out.print(f"… {len(rendered) - room} lines more: use filters, or --brief")


def _parts(snapshot: "Snapshot", brief: bool | None, width: int, *, whole: bool) -> "Iterator[RenderableType]":
    """Everything to print for a terminal of ``width`` columns; plain strings are lines as they are."""
    from xfrmctl.cli import brief as lines  # noqa: PLC0415
    from xfrmctl.cli import cards, tables  # noqa: PLC0415

    chosen = snapshot.connections
    children = sum(max(len(c.children), sum(len(ike.children) for ike in c.ike_sas)) for c in chosen)
    yield from cards.head(snapshot, whole=whole)
    if not chosen:
        yield "nothing matches" if not whole else "no connection is configured"
        return
    if brief or (brief is None and children >= lines.MANY):
        yield from lines.brief(chosen, width)
        if brief is None:
            yield f"{children} children, one line each: name a connection or use filters for more, or --full"
        return
    if width >= tables.WIDE:
        yield from tables.tables(chosen)
    else:
        for connection in chosen:
            yield from cards.card(connection, width)
    for connection in chosen:
        if connection.state != "up" and (connection.last_failure or connection.retry_in_s is not None):
            yield from cards.failure(connection, width)
