"""A dashboard file against the strict schema: each panel by the type that it says it is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

SCHEMA = json.loads((Path(__file__).parent / "dashboard.schema.json").read_text())
_KINDS = {
    "row": "PanelRow",
    "stat": "PanelStat",
    "state-timeline": "PanelStatetimeline",
    "table": "PanelTable",
    "text": "PanelText",
    "timeseries": "PanelTimeseries",
}


def faults(dashboard: dict[str, Any]) -> list[str]:
    """What is wrong with it, and where."""
    return [
        *_of("DashboardFile", "dashboard", dashboard | {"panels": []}),
        *(text for panel in dashboard["panels"] for text in _of_panel(panel)),
    ]


def _of_panel(panel: dict[str, Any]) -> Iterator[str]:
    where, kind = f"panel {panel.get('title')}", panel.get("type")
    if kind not in _KINDS:
        yield f"{where}: no panel of type {kind} is used here"
        return
    yield from _of(_KINDS[kind], where, panel)


def _of(definition: str, where: str, value: dict[str, Any]) -> Iterator[str]:
    validator = Draft7Validator({"$ref": f"#/definitions/{definition}", "definitions": SCHEMA["definitions"]})
    for error in validator.iter_errors(value):
        yield f"{where}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
