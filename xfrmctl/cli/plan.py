"""``xfrmctl plan``: what would a reload change?"""

import typer

from xfrmctl.cli.session import Json, print_json, session


def plan(context: typer.Context, as_json: Json = False) -> None:
    """Tell what a reload would change, and where the kernel differs from what is wanted. Changes nothing.

    Example: `xfrmctl plan`
    """
    found = session(context, as_json)
    result = found.client().plan()
    if as_json:
        print_json(result)
        return
    for line in result.lines or ["nothing would change"]:
        print(line)
