"""``xfrmctl check``: is a configuration file good?"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from xfrmctl.cli.session import DEFAULT_CONFIG, Json, print_json, session
from xfrmctl.model.words import plural


def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Configuration file.", show_default=True)] = DEFAULT_CONFIG,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of the file instead.")] = False,
    as_json: Json = False,
) -> None:
    """Check a configuration file: every problem with its line, cause and cure.

    Nothing is changed, and no daemon is needed. Run it before `xfrmctl reload`, and in CI.

    Example: `xfrmctl check /etc/xfrmctl/xfrmctl.yaml`, `xfrmctl check --schema > xfrmctl.schema.json`
    """
    session(context, as_json)
    if schema:
        from xfrmctl.config.jsonschema import json_schema  # noqa: PLC0415

        print(json.dumps(json_schema(), indent=2))
        return
    from xfrmctl.config.load import load  # noqa: PLC0415

    found = load(file)
    children = sum(len(c.children) for c in found.engine.connections.values())
    if as_json:
        print_json(
            {
                "ok": True,
                "file": str(file),
                "hash": found.hash,
                "connections": list(found.engine.connections),
                "children": children,
                "warnings": [str(w) for w in found.warnings],
            }
        )
        return
    for warning in found.warnings:
        print(f"xfrmctl: warning: {warning}", file=sys.stderr)
    connections = plural(len(found.engine.connections), "connection")
    print(f"{file}: ok: {connections}, {children} {'child' if children == 1 else 'children'}, hash {found.hash[:12]}")
