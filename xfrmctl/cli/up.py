"""``xfrmctl up``: bring a connection up."""

from typing import Annotated

import typer

from xfrmctl.cli import complete
from xfrmctl.cli.session import Json, session


def up(
    context: typer.Context,
    connection: Annotated[
        str, typer.Argument(help="Name of a configured connection.", autocompletion=complete.connections)
    ],
    child: Annotated[
        str | None, typer.Argument(help="One child of it; all of them if left out.", autocompletion=complete.children)
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for it.", min=0.1, max=3600)] = 60.0,
    as_json: Json = False,
) -> None:
    """Bring a connection up, or one child of it, and wait until it is.

    If it cannot be brought up, the reason is told with its cure and what both sides offered. Running out of
    time does not stop the attempt.

    Example: `xfrmctl up branch-7 lan --timeout 10`
    """
    found = session(context, as_json)
    from xfrmctl.cli.action import finish  # noqa: PLC0415

    finish(found, found.client().up(connection, child, timeout))
