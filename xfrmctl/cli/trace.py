"""``xfrmctl trace``: who changed what between two points of a path."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xfrmctl.cli.outcome import FAILED
from xfrmctl.cli.session import Json, console, print_json, session
from xfrmctl.model.words import plural

if TYPE_CHECKING:
    from xfrmctl.model.suite import Suite
    from xfrmctl.trace.comparison import Comparison
    from xfrmctl.trace.findings import Finding
    from xfrmctl.trace.packets import Point

_MARGIN = 8


def trace(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="Capture file (pcap or pcapng), or a device with --live.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Capture of the same traffic at the other point.")],
    suite: Annotated[
        str | None,
        typer.Option("--suite", help="ESP suite known to be in use, such as aes256gcm16: sharper arithmetic."),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Capture on two devices of this gateway now; A and B are their names.")
    ] = False,
    seconds: Annotated[float, typer.Option("--seconds", help="How long to capture.", min=0.1, max=3600)] = 10,
    expression: Annotated[str, typer.Option("--filter", help="With --live: a filter as tcpdump takes it.")] = "",
    limit: Annotated[int, typer.Option("--limit", help="Packets of each file that are read.", min=1)] = 1_000_000,
    as_json: Json = False,
) -> None:
    """Tell who changed what on a path, from captures at two points: MSS, sequence numbers, sizes, ICMP, fragments, TTL.

    Exit code 0: nothing was changed and nothing lost. 1: something was. 2: a file cannot be read.

    Example: `xfrmctl trace client.pcap server.pcapng`, or `xfrmctl trace --live lan ipsec0 --seconds 30`
    """
    session(context, as_json)
    from xfrmctl.pmtu.spelling import parse_suite  # noqa: PLC0415
    from xfrmctl.trace.comparison import compare  # noqa: PLC0415

    known: Suite | None = parse_suite(suite) if suite else None
    here, there = _live((a, b), seconds, expression, limit) if live else (_file(name, limit) for name in (a, b))
    found = compare(here, there, known)
    if as_json:
        print_json(_plain(found))
    else:
        _show(found)
    if found.changed:
        raise typer.Exit(FAILED)


def _file(name: str, limit: int) -> "Point":
    from xfrmctl.model.errors import UnusableInput  # noqa: PLC0415
    from xfrmctl.trace.headers import read  # noqa: PLC0415

    try:
        with Path(name).open("rb") as stream:
            return read(name, stream, limit)
    except OSError as error:
        raise UnusableInput(f"{name}: {error.strerror}") from None


def _live(devices: tuple[str, str], seconds: float, expression: str, limit: int) -> "list[Point]":
    from xfrmctl.kernel.tap import capture  # noqa: PLC0415
    from xfrmctl.trace.headers import read  # noqa: PLC0415

    with ExitStack() as stack:
        files = [stack.enter_context(file) for file in capture(devices, seconds, expression)]
        return [read(device, file, limit) for device, file in zip(devices, files, strict=True)]


def _plain(found: "Comparison") -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    return {
        "changed": found.changed,
        "connections": found.pairs,
        "points": {
            side.value: {
                "name": point.name,
                "packets": len(point.packets),
                "unread": point.unread,
                "damage": point.damage,
                "limited": point.limited,
            }
            for side, point in found.points.items()
        },
        "findings": [
            asdict(f)
            | {
                "severity": f.severity.value,
                "evidence": [{"point": e.side.value, "packet": e.number, "text": e.text} for e in f.evidence],
                "values": dict(f.values),
            }
            for f in found.findings
        ],
    }


def _show(found: "Comparison") -> None:
    out = console()
    for side, point in found.points.items():
        words = [plural(len(point.packets), "packet")]
        words += [f"{point.unread} not IP or cut too short"] if point.unread else []
        words += ["more than --limit were left out"] if point.limited else []
        out.print(f"{side.value}  {point.name}: {', '.join(words)}", markup=False)
        if point.damage:
            out.print(f"   damaged, and used up to there: {point.damage}", markup=False)
    out.print(f"{plural(found.pairs, 'connection')} at both points", markup=False)
    for finding in found.findings:
        _print(finding)
    if not found.changed:
        out.print("\nNothing was changed between A and B.")


def _print(finding: "Finding") -> None:
    from rich.padding import Padding  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    out = console()
    out.print()
    title = Text(f"{finding.severity.value.upper():<{_MARGIN}}{finding.title}", style="bold")
    out.print(title)
    lines = [*finding.details]
    lines += [f"fits: {fit.text}" for fit in finding.fits]
    lines += [f"{e.side.value} #{e.number}: {e.text}" for e in finding.evidence]
    for line in lines:
        out.print(Padding(Text(line), (0, 0, 0, _MARGIN)))
