"""``xfrmctl down``: take a connection down."""

from typing import Annotated

import typer

from xfrmctl.cli import complete
from xfrmctl.cli.session import Json, session


def down(
    context: typer.Context,
    connection: Annotated[
        str, typer.Argument(help="Name of a configured connection.", autocompletion=complete.connections)
    ],
    child: Annotated[
        str | None,
        typer.Argument(help="One child of it; the IKE SA too if left out.", autocompletion=complete.children),
    ] = None,
    as_json: Json = False,
) -> None:
    """Take a connection down, or one child of it, and tell the peer.

    What is configured stays protected: packets of a child that is down are blocked (or bring it up again,
    with `start: trap`), they never leave in clear.

    Example: `xfrmctl down branch-7`
    """
    found = session(context, as_json)
    from xfrmctl.cli.action import finish  # noqa: PLC0415

    finish(found, found.client().down(connection, child))
