"""``xfrmctl reload``: put the configuration file in force."""

import sys

import typer

from xfrmctl.cli.outcome import USAGE
from xfrmctl.cli.session import Json, print_json, session


def reload(context: typer.Context, as_json: Json = False) -> None:
    """Have the daemon read its configuration file again.

    Connections that did not change are not touched. If the file has a problem, the old configuration stays in
    force (exit code 2). `xfrmctl plan` tells beforehand what will change.

    Example: `xfrmctl check && xfrmctl reload`
    """
    found = session(context, as_json)
    result = found.client().reload()
    if as_json:
        print_json(result)
    else:
        print(result.message if result.ok else f"xfrmctl: {result.message}", file=None if result.ok else sys.stderr)
        for word, names in (("added", result.added), ("changed", result.changed), ("removed", result.removed)):
            if names:
                print(f"  {word + ':':<9} {', '.join(names)}")
    if not result.ok:
        raise typer.Exit(USAGE)
