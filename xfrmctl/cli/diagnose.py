"""``xfrmctl diagnose``: what is wrong, why, and the cure for both ends."""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xfrmctl.cli import complete
from xfrmctl.cli.outcome import FAILED, USAGE, tell
from xfrmctl.cli.session import DEFAULT_CONFIG, Json, Session, console, print_json, session

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from xfrmctl.model.finding import Diagnosis, Finding, Line

_COLOURS = {"error": "red", "warning": "yellow"}


def diagnose(
    context: typer.Context,
    connection: Annotated[
        str | None,
        typer.Argument(help="One configured connection; all of them if left out.", autocompletion=complete.connections),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", "-s", help="How long to watch counters.", min=0, max=60)] = 3.0,
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Configuration to look at where no daemon runs.")
    ] = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Look for what is wrong: each finding with its evidence, its cause, and the cure for this end and the peer.

    Watches counters for some seconds, sends a few pings to the peers, asks silent ones what a stranger may ask,
    and changes nothing. Where no daemon runs it says so, and looks at the rest with your rights.

    Exit codes: 0 nothing found; 1 findings; 2 it could not look.

    Example: `xfrmctl diagnose branch-7`, `xfrmctl diagnose --json | jq -r '.findings[].id'`
    """
    found = session(context, as_json)
    from xfrmctl.model.errors import XfrmctlError  # noqa: PLC0415

    try:
        result = _look(found, connection, seconds, config)
    except XfrmctlError as error:
        tell(error, as_json)
        raise typer.Exit(USAGE) from None
    if as_json:
        print_json(result)
    else:
        for part in render(result):
            console().print(part)
    if result.findings:
        raise typer.Exit(FAILED)


def _look(found: Session, connection: str | None, seconds: float, config: Path) -> "Diagnosis":
    from xfrmctl.control.client import NotRunning  # noqa: PLC0415

    watching: AbstractContextManager[object] = nullcontext()
    if not found.json and sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415

        watching = Console(stderr=True).status(f"watching counters for {seconds:.0f} s")
    try:
        with watching:
            return found.client().diagnose(connection, seconds)
    except NotRunning as error:
        from xfrmctl.daemon.diagnosis import without_daemon  # noqa: PLC0415

        return without_daemon(config, connection, error.message)


def render(result: "Diagnosis") -> "list[RenderableType]":
    """Everything to print."""
    from rich.text import Text  # noqa: PLC0415

    parts: list[RenderableType] = [part for finding in result.findings for part in _finding(finding)]
    what = ", ".join(result.connections) if len(result.connections) < 6 else f"{len(result.connections)} connections"
    count = len(result.findings)
    text = f"{count} finding{'' if count == 1 else 's'}" if count else "nothing found"
    parts.append(Text(f"{what}: {text}", style="bold" if count else "green"))
    parts += [Text(f"not looked at: {reason}", style="yellow") for reason in result.blind]
    return parts


def _line(line: "Line") -> "Text":
    """Product and place, then the line; several of them begin below, so that they can be copied as they are."""
    from rich.text import Text  # noqa: PLC0415

    return Text.assemble((f"{line.where}:", "dim"), "\n" if "\n" in line.text else " ", line.text)


def _finding(finding: "Finding") -> "list[RenderableType]":
    from rich.padding import Padding  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    where = "/".join(part for part in (finding.connection, finding.child) if part) or "gateway"
    title = Text.assemble(
        (f"{finding.severity} ", f"bold {_COLOURS.get(finding.severity, '')}"), (finding.id, "bold"), f" ({where})"
    )
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("symptom", Text(finding.symptom))
    for number, seen in enumerate(finding.evidence):
        table.add_row("" if number else "evidence", Text(seen))
    table.add_row("cause", Text(finding.cause))
    for end, cure in (("here", finding.cure_here), ("peer", finding.cure_peer)):
        table.add_row(f"cure {end}", Text(cure))
        for line in finding.lines:
            if line.end == end:
                table.add_row("", _line(line))
    return [title, Padding(table, (0, 0, 1, 2))]
