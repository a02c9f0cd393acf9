"""Names of connections and children for the shell's completion, from the daemon; where none answers, no words.

It runs at every <tab>: one small request, and never a message.
"""

import typer

from xfrmctl.cli.session import DEFAULT_CONTROL

PATIENCE_S = 1.0


def connections(context: typer.Context, incomplete: str) -> list[str]:
    """Configured connections."""
    return [name for name in _names(context) if name.startswith(incomplete)]


def children(context: typer.Context, incomplete: str) -> list[str]:
    """Children of the connection that stands before."""
    known = _names(context).get(str(context.params.get("connection")), [])
    return [name for name in known if name.startswith(incomplete)]


def _names(context: typer.Context) -> dict[str, list[str]]:
    from xfrmctl.control.client import ControlClient  # noqa: PLC0415
    from xfrmctl.model.errors import XfrmctlError  # noqa: PLC0415

    try:
        control = context.find_root().params.get("control") or DEFAULT_CONTROL
        return ControlClient(control).names(PATIENCE_S)
    except XfrmctlError:
        return {}
