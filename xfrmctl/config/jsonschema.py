"""The published JSON schema (``xfrmctl check --schema``): for editors that complete and check, and for CI.

YAML's ``!file`` tag has no place in JSON schema; editors want to be told of it
(``"yaml.customTags": ["!file"]``).
"""

from typing import Any

from xfrmctl.config.schema import DEFAULT_ESP, DEFAULT_IKE, File

_SPELLED: dict[str, Any] = {"proposals": list(DEFAULT_IKE), "esp": list(DEFAULT_ESP), "metrics": "off"}
_SPELLED |= {"mtu": "auto", "tries": "forever", "address": "any"}


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a configuration file; defaults are spelled as one would write them."""
    found = File.model_json_schema()
    for part in found["$defs"].values():
        for name, entry in part["properties"].items():
            _spell_default(name, entry)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "xfrmctl configuration",
    }


def _spell_default(name: str, entry: dict[str, Any]) -> None:
    """The schema of a parsed value speaks of what is written, its default of what is parsed: mend that."""
    default = entry.pop("default", None)
    if default is None or isinstance(default, (list, tuple, dict)):
        default = _SPELLED.get(name)
    elif isinstance(default, float) and entry.get("type") == "string":
        default = f"{default:g}s"
    if default is not None:
        entry["default"] = default
