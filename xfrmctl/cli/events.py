"""``xfrmctl events``: follow what happens."""

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from xfrmctl.cli import complete
from xfrmctl.cli.session import Json, session


def events(
    context: typer.Context,
    connection: Annotated[
        str | None,
        typer.Option("--connection", "-c", help="Only events of this connection.", autocompletion=complete.connections),
    ] = None,
    idle: Annotated[
        float | None, typer.Option("--idle", help="End after so many seconds without an event.", min=0.1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow negotiations and SAs as they happen, until ^C. With --json: one JSON object a line.

    Example: `xfrmctl events --json | jq 'select(.event == "negotiation_failed")'`
    """
    found = session(context, as_json)
    try:
        for event in found.client().events(idle):
            if connection is None or event.get("connection", connection) == connection:
                print(json.dumps(event, ensure_ascii=False) if as_json else line(event), flush=True)
    except KeyboardInterrupt:
        return


def line(event: dict[str, Any]) -> str:
    """One event as a line for people."""
    rest = dict(event)
    name = str(rest.pop("event", "event")).replace("_", " ")
    at = rest.pop("at", None)
    stamp = datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:-3] if isinstance(at, (int, float)) else " " * 12
    who = str(rest.pop("connection", "") or "-")
    words = [f"{key}={_short(value)}" for key, value in rest.items() if value not in ("", None, [])]
    return f"{stamp} {who}: {name}" + (f" ({', '.join(words)})" if words else "")


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("text") or "/".join(str(v) for v in value.values()))
    if isinstance(value, list):
        return "+".join(str(v) for v in value)
    return str(value)
