"""Filters of the role xfrmctl: variables -> the text of a configuration file, and what of them breaks its schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

DOCUMENTATION = r"""
  name: configuration
  author: the xfrmctl authors
  short_description: variables as a configuration file of xfrmctl
  description:
    - Writes YAML. A string C(!file PATH) or C(!credential NAME) becomes the tag that the program knows.
    - Ansible reads an unquoted C(off) or C(on) as a boolean. Where the schema knows no boolean, it is the word again.
  options:
    _input:
      description: the sections gateway, policies and connections
      type: dict
      required: true
    schema:
      description: the JSON schema of the file, as C(xfrmctl check --schema) prints it
      type: dict
      required: true
"""

TAGS = ("!file ", "!credential ")


class AnsibleXfrmctlDumper(yaml.SafeDumper):
    """Knows the two tags, and writes no anchors: a value that is used twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never an alias."""
        return True


class _Tagged:
    def __init__(self, tag: str, value: str) -> None:
        self.tag, self.value = tag, value


AnsibleXfrmctlDumper.add_representer(
    _Tagged, lambda dumper, data: dumper.represent_scalar(data.tag, data.value, style="")
)


def configuration(sections: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The text of a configuration file."""
    plain = _plain(sections, booleans(schema))
    return yaml.dump(
        _tagged(plain), Dumper=AnsibleXfrmctlDumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )


def problems(sections: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str] | None:
    """What of the variables breaks the schema, one line each; None where this machine has no jsonschema."""
    try:
        from jsonschema import Draft202012Validator  # noqa: PLC0415  not on every controller
    except ImportError:
        return None
    found = Draft202012Validator(schema).iter_errors(_plain(sections, booleans(schema)))
    return sorted(f"{'.'.join(['xfrmctl', *map(str, error.absolute_path)])}: {error.message}" for error in found)


def bare_secrets(sections: Mapping[str, Any]) -> list[str]:
    """Where a secret itself is written, and not where it is kept: paths of the variables, never the secrets."""
    found = []
    for name, connection in (sections.get("connections") or {}).items():
        auth = connection.get("auth") if isinstance(connection, Mapping) else None
        if not isinstance(auth, Mapping):
            continue  # the schema's matter
        many = auth.get("psks")
        keys = {"psk": auth.get("psk"), **(many if isinstance(many, Mapping) else {})}
        place = f"xfrmctl_connections.{name}.auth"
        found += [
            f"{place}.{key if key == 'psk' else f'psks.{key}'}"
            for key, value in keys.items()
            if value is not None and not str(value).startswith(TAGS)
        ]
    return found


def booleans(schema: Mapping[str, Any]) -> set[str]:
    """Names of the keys that are true or false."""
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name, key in part.get("properties", {}).items() if key.get("type") == "boolean"}


def _plain(value: Any, truths: set[str], name: str = "") -> Any:
    """Plain values, and the words that YAML 1.1 takes for booleans."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, truths, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, truths, name) for item in value]
    if isinstance(value, bool) and name not in truths:
        return "on" if value else "off"
    for kind in (str, int, float):  # without the types by which Ansible remembers where a value is from
        if isinstance(value, kind) and not isinstance(value, bool):
            return kind(value)
    return value


def _tagged(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, str) and value.startswith(TAGS):
        tag, _, rest = value.partition(" ")
        return _Tagged(tag, rest.strip())
    return value


def up(snapshot: Mapping[str, Any]) -> list[str]:
    """Names of the connections that are up, from what ``xfrmctl show --json`` prints."""
    return [connection["name"] for connection in snapshot.get("connections", []) if connection["state"] == "up"]


def waiting(plan: Mapping[str, Any]) -> list[str]:
    """Keys that only a restart puts in force, from what ``xfrmctl plan --json`` prints."""
    later = [change for change in plan["gateway"] if change["cost"] == "restart"]
    return [*plan["waiting"], *(key["key"] for change in later for key in change["keys"])]


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """By the names that templates use."""
        return {
            "configuration": configuration,
            "problems": problems,
            "bare_secrets": bare_secrets,
            "up": up,
            "waiting": waiting,
        }
