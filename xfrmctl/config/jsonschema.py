"""The published JSON schema (``xfrmctl check --schema``): for editors that complete and check, and for CI.

YAML's ``!file`` tag has no place in JSON schema; editors want to be told of it
(``"yaml.customTags": ["!file"]``).
"""

from collections.abc import Iterator
from typing import Any

from xfrmctl.config.schema import DEFAULT_ESP, DEFAULT_IKE, File
from xfrmctl.config.spelling import WRITTEN
from xfrmctl.config.written import duration

_SPELLED: dict[str, Any] = {
    "proposals": list(DEFAULT_IKE),
    "esp": list(DEFAULT_ESP),
    "metrics": "off",
    "status_page": "off",
}
_SPELLED |= {"mtu": "auto", "tries": "forever", "address": "any", "reauth": "off"}


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a configuration file; defaults are spelled as one would write them."""
    found = annotated_schema()
    for part in _mappings(found):
        written = part.pop(WRITTEN, None)
        if written is not None:
            part["description"] = "\n\n".join(t for t in (part.get("description"), f"Written: {written}.") if t)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "xfrmctl configuration",
    }


def annotated_schema() -> dict[str, Any]:
    """The same, with how values are written apart from what the keys mean, as ``x-written``."""
    found = File.model_json_schema()
    for part in found["$defs"].values():
        for name, entry in part["properties"].items():
            _spell_default(name, entry)
    for part in _mappings(found):
        if isinstance(part.get("description"), str):
            part["description"] = part["description"].replace("``", "`")
    return found


def _mappings(part: Any) -> Iterator[dict[str, Any]]:
    """A schema and all that it consists of."""
    if isinstance(part, dict):
        yield part
        for inner in list(part.values()):
            yield from _mappings(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _mappings(inner)


def _spell_default(name: str, entry: dict[str, Any]) -> None:
    """The schema of a parsed value speaks of what is written, its default of what is parsed: mend that."""
    default = entry.pop("default", None)
    if default is None or isinstance(default, (list, tuple, dict)):
        default = _SPELLED.get(name)
    elif isinstance(default, float) and entry.get("type") == "string":
        default = duration(default)
    if default is not None:
        entry["default"] = default
