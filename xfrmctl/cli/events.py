"""``xfrmctl events``: what has happened lately, and what happens."""

import textwrap
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from xfrmctl.cli import complete
from xfrmctl.cli.interrupt import until_interrupted
from xfrmctl.cli.session import Json, console, print_line, session

if TYPE_CHECKING:
    from rich.text import Text

Severity = Literal["debug", "info", "warning", "error"]
_COLOURS = {"debug": "dim", "warning": "yellow", "error": "red"}
INDENT = " " * 15
"""Under a line's time stamp."""


def events(
    context: typer.Context,
    connection: Annotated[
        list[str] | None,
        typer.Option(
            "--connection",
            "-c",
            help="Only what concerns this connection, its peer's address or its path; a name or a pattern.",
            autocompletion=complete.connections,
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            "-k",
            help="Only of this kind (ike_sa_closed) or group: ike, child, failure, message, dropped, moving, path, "
            "kernel.",
        ),
    ] = None,
    severity: Annotated[
        Severity, typer.Option("--severity", "-s", help="The least that is shown; debug has every message and probe.")
    ] = "info",
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, max=1000, help="So many of the past first; messages are not kept.")
    ] = 0,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", "-f", help="Go on until ^C; or end after those of the past.")
    ] = True,
    idle: Annotated[
        float | None, typer.Option("--idle", help="End after so many seconds without an event.", min=0.1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow negotiations, SAs and paths as they happen, until ^C. With --json: one JSON object a line.

    Example: `xfrmctl events --last 50 --no-follow --severity warning`, `xfrmctl events -c branch-7 -k failure
    -k path`, `xfrmctl events --json | jq 'select(.event == "negotiation_failed") | .failure.cure'`
    """
    client = session(context, as_json).client()
    query = [("connection", name) for name in connection or ()] + [("kind", word) for word in kind or ()]
    query += [("severity", severity), ("last", str(last)), ("follow", "yes" if follow else "no")]
    with until_interrupted():
        for event in client.events(idle, query):
            if as_json:
                print_line(event)
            else:
                console().print(line(event))


def line(event: dict[str, Any], width: int | None = None) -> "Text":
    """One event as a line for people; what is long goes on under its beginning."""
    from rich.text import Text  # noqa: PLC0415  not for --help

    at = event.get("at")
    stamp = datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:-3] if isinstance(at, (int, float)) else " " * 12
    severity = str(event.get("severity", "info"))
    said = str(event.get("text") or event.get("reason") or event.get("event", "event"))
    mark = "" if severity in ("debug", "info") else f"{severity}: "
    room = width if width is not None else console().width
    cut = textwrap.wrap(f"{stamp}  {mark}{said}", max(40, room), subsequent_indent=INDENT, break_on_hyphens=False)
    return Text("\n".join(cut), style=_COLOURS.get(severity, ""))
