"""``xfrmctl plan``: what would a reload change, and at what cost?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from xfrmctl.cli.outcome import FAILED, USAGE, tell
from xfrmctl.cli.session import Json, print_json, session
from xfrmctl.control.schema import ChildChange, ConnectionChange, KeyChange, PlanResult
from xfrmctl.model.errors import XfrmctlError

DIFFERENCES = 2
SIGNS = {"add": "+", "change": "~", "remove": "-"}


class PlanCommand(TyperCommand):
    """Has wrong usage end with 1: a script must not take a misspelt option for a difference."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As everywhere, but for the exit code. Whether it is click's UsageError or typer's own depends on versions."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "exit_code", None) == USAGE:
                error.exit_code = FAILED  # type: ignore[attr-defined]
            raise


def plan(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="Configuration file to compare with; the daemon's own, as it is now, if left out."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what a reload would change and what each change costs. Changes nothing.

    Compared with what is in force: connections, children and their keys (secrets are never shown), the gateway's
    settings, and what stands in the kernel. The costs: nothing; a rekey, which loses no packet; a connection that is
    set up anew, and which of its children are interrupted; or the next start of the daemon.

    The daemon itself reads FILE, and only for root: keep it in the directory of the configuration file, where its
    secrets are and where the daemon may read.

    Exit codes for scripts: 0 nothing would change; 2 something would; 1 it failed: wrong usage, or a file that cannot
    be used; 3 no daemon answers. Here 2 never means an error.

    Example: `xfrmctl plan`, `xfrmctl plan /etc/xfrmctl/new.yaml --json`
    """
    found = session(context, as_json)
    try:
        result = found.client().plan(file)
    except XfrmctlError as error:
        code = tell(error, as_json)
        raise typer.Exit(FAILED if code == USAGE else code) from None
    if as_json:
        print_json(result)
    else:
        print("\n".join(told(result)))
    if result.configuration_differs or result.lines:
        raise typer.Exit(DIFFERENCES)


def told(result: PlanResult) -> Iterator[str]:
    """The plan as text, line by line."""
    for connection in result.connections:
        yield f"{SIGNS[connection.action]} {connection.name}: {connection.effect}"
        yield from (f"    {key(change)}" for change in connection.keys)
        for child in connection.children:
            yield from (f"    {line}" for line in _child(child))
    for change in result.gateway:
        yield f"~ gateway: {change.effect}"
        yield from (f"    {key(each)}" for each in change.keys)
    if result.lines:
        yield "kernel:" if result.configuration_differs else "kernel, where it is not as it should be:"
        yield from (f"    {line}" for line in result.lines)
    if result.waiting:
        yield f"waits for the next start of the daemon already: {', '.join(result.waiting)}"
    yield summary(result)


def _child(child: ChildChange) -> Iterator[str]:
    yield f"{SIGNS[child.action]} {child.name}: {child.carries}"
    yield from (f"    {key(change)}" for change in child.keys)


def key(change: KeyChange) -> str:
    """``mtu: auto -> 1400``; of a secret only that it is another one."""
    if change.secret:
        words = {(True, False): "a secret is added", (False, True): "the secret is taken out"}
        return f"{change.key}: {words.get((change.old is None, change.new is None), 'it is another secret')}"
    if change.old is None:
        return f"{change.key}: {change.new}"
    return f"{change.key}: {change.old} -> {change.new if change.new is not None else '(not there)'}"


def summary(result: PlanResult) -> str:
    """The last line."""
    if not result.configuration_differs:
        return "the configuration would not change" if result.lines else "nothing would change"
    counts: dict[str, int] = dict.fromkeys(SIGNS, 0)
    for connection in result.connections:
        counts[connection.action] += 1
    words = [f"{number} to {action}" for action, number in counts.items() if number]
    text = f"connections: {', '.join(words)}" if words else "connections: none"
    interrupted = [_names(connection) for connection in result.connections if connection.interrupts]
    return f"{text}; interrupted: {', '.join(interrupted) or 'none'}"


def _names(connection: ConnectionChange) -> str:
    return f"{connection.name} ({', '.join(connection.interrupts)})"
