"""``xfrmctl show``: what is up, what is down, and why."""

from difflib import get_close_matches
from typing import Annotated

import typer

from xfrmctl.cli import complete
from xfrmctl.cli.outcome import FAILED
from xfrmctl.cli.session import Json, console, print_json, session


def show(
    context: typer.Context,
    connection: Annotated[
        str | None,
        typer.Argument(help="One configured connection; all of them if left out.", autocompletion=complete.connections),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show IKE SAs and CHILD SAs with SPIs, suites, counters, lifetimes, MTU and MSS.

    Connections that are down are shown with their last failure, its cause and cure, and what each side
    offered. With a connection's name the exit code is 1 unless it is up.

    Example: `xfrmctl show branch-7`, `xfrmctl show --json | jq '.connections[] | select(.state != "up") |
    .name'`
    """
    found = session(context, as_json)
    client = found.client()
    if as_json:
        status = client.status_json()
        if connection is None:
            print_json(status)
            return
        known = {c["name"]: c for c in status["connections"]}
        print_json(known[_known(connection, list(known))])
        raise typer.Exit(0 if known[connection]["state"] == "up" else FAILED)
    snapshot = client.status()
    from xfrmctl.cli.cards import render  # noqa: PLC0415

    if connection is not None:
        _known(connection, [c.name for c in snapshot.connections])
    chosen = [c for c in snapshot.connections if connection in (None, c.name)]
    out = console()
    for part in render(snapshot, chosen, out.width):
        out.print(part)
    if connection is not None and chosen[0].state != "up":
        raise typer.Exit(FAILED)


def _known(name: str, known: list[str]) -> str:
    if name in known:
        return name
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known[:10]) or 'none is configured'}"
    raise typer.BadParameter(f"no connection {name!r}; {hint}", param_hint="CONNECTION")
