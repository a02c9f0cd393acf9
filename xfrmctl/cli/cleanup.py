"""``xfrmctl cleanup``: remove every trace of us from the kernel."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from xfrmctl.cli.outcome import FAILED
from xfrmctl.cli.session import Json, print_json, session

if TYPE_CHECKING:
    from xfrmctl.control.client import ControlClient


def cleanup(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Also while a daemon runs.")] = False,
    as_json: Json = False,
) -> None:
    """Remove every SA, policy, interface, route and firewall rule that is ours, also after a crash.

    This ends the protection: packets of the configured selectors may leave in clear afterwards. What is not ours
    is not touched. Refused while a daemon answers at --control.

    Example: `systemctl stop xfrmctl && xfrmctl cleanup`
    """
    found = session(context, as_json)
    if not force:
        _refuse_beside_a_daemon(found.client())
    from xfrmctl.daemon.cleanup import main  # noqa: PLC0415

    report = main()
    if as_json:
        print_json({"removed": report.removed, "problems": list(report.problems)})
    else:
        counted = ", ".join(f"{number} {what}" for what, number in report.removed.items() if number)
        print(f"removed: {counted or 'nothing, there was no trace of us'}")
        for problem in report.problems:
            print(f"xfrmctl: {problem}", file=sys.stderr)
    if report.problems:
        raise typer.Exit(FAILED)


def _refuse_beside_a_daemon(client: "ControlClient") -> None:
    from xfrmctl.control.client import ControlError, Unreachable  # noqa: PLC0415

    try:
        client.openapi()
    except Unreachable:
        return
    raise ControlError(
        f"a daemon answers at {client.path}: it would put everything back",
        "stop it first (systemctl stop xfrmctl), or add --force",
    )
