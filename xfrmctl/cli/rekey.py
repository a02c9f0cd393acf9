"""``xfrmctl rekey``: new keys now."""

from typing import Annotated

import typer

from xfrmctl.cli import complete
from xfrmctl.cli.session import Json, session


def rekey(
    context: typer.Context,
    connection: Annotated[
        str, typer.Argument(help="Name of a configured connection.", autocompletion=complete.connections)
    ],
    child: Annotated[
        str | None, typer.Argument(help="One child of it; the IKE SA if left out.", autocompletion=complete.children)
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait.", min=0.1, max=3600)] = 60.0,
    as_json: Json = False,
) -> None:
    """Renew the keys of one child's SAs, or of the IKE SA, without losing a packet.

    It happens by itself at the age that `rekey` in the configuration names; this is for when keys may be known.

    Example: `xfrmctl rekey branch-7 lan`
    """
    found = session(context, as_json)
    from xfrmctl.cli.action import finish  # noqa: PLC0415

    finish(found, found.client().rekey(connection, child, timeout))
