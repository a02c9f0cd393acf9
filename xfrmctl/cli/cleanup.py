"""``xfrmctl cleanup``: remove every trace of us from the kernel."""

import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from xfrmctl.cli.outcome import FAILED
from xfrmctl.cli.session import Json, print_json, session


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
        _refuse_beside_a_daemon(found.control)
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


def _refuse_beside_a_daemon(path: Path) -> None:
    """Whoever listens is a daemon, also one that hangs or speaks another version of the API."""
    from xfrmctl.control.client import ControlError  # noqa: PLC0415

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return
        except OSError:
            pass  # too busy to take the connection, or not for us to ask
    raise ControlError(
        f"a daemon answers at {path}: it would put everything back",
        "stop it first (systemctl stop xfrmctl), or add --force",
    )
