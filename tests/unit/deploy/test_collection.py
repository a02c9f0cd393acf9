"""The Ansible collection: its filters, and that what it carries along is what the project has."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from xfrmctl.config.jsonschema import json_schema
from xfrmctl.config.load import loads

HERE = Path(__file__).resolve().parents[3]
COLLECTION = HERE / "ansible"
ROLES = [COLLECTION / "roles" / name for name in ("xfrmctl", "xfrmctl_monitoring")]


def _filters() -> ModuleType:
    spec = importlib.util.spec_from_file_location("configuration", COLLECTION / "plugins/filter/configuration.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILTERS = _filters()
SCHEMA = json_schema()
SECTIONS: dict[str, Any] = {
    "gateway": {"crash_detection": False, "metrics": False},
    "policies": {},
    "connections": {
        "c": {
            "local": {"address": "192.0.2.1"},
            "remote": {"address": "192.0.2.2"},
            "auth": {"psk": "!file k's own.psk", "sha1": True},
            "ike": {"dpd": False, "mobike": True},
            "children": {"lan": {"local_ts": "10.1.0.0/16", "remote_ts": ["10.2.0.0/16"], "mss": False, "ecn": True}},
        }
    },
}


def test_variables_become_the_file_that_was_meant(tmp_path: Path) -> None:
    """Ansible reads YAML 1.1: ``off`` and ``on`` arrive as booleans, and a tag would be an error."""
    (tmp_path / "k's own.psk").touch(mode=0o600)
    (tmp_path / "k's own.psk").write_text("a long and boring secret")
    text = FILTERS.configuration(SECTIONS, SCHEMA)
    found = loads(text, tmp_path / "xfrmctl.yaml")
    connection = found.engine.connections["c"]
    assert connection.psk == b"a long and boring secret" and connection.sha1 and connection.mobike
    assert connection.dpd_s is None and found.gateway.metrics is None and not found.gateway.crash_detection
    assert (connection.children[0].mss, connection.children[0].options.ecn) == ("off", True)
    assert text == FILTERS.configuration(SECTIONS, SCHEMA)


def test_values_that_remember_where_they_are_from_are_plain_values_again() -> None:
    """Ansible has types of its own for strings and numbers."""

    class Number(int): ...

    class Text(str): ...

    text = FILTERS.configuration({"connections": {Text("c"): {"a": Number(7), "b": [Text("!file x")]}}}, SCHEMA)
    assert text == "connections:\n  c:\n    a: 7\n    b:\n    - !file 'x'\n"


def test_what_breaks_the_schema_is_told_with_its_place() -> None:
    assert FILTERS.problems(SECTIONS, SCHEMA) == []
    wrong = json.loads(json.dumps(SECTIONS))
    wrong["connections"]["c"]["children"]["lan"]["replay_windows"] = 64
    wrong["gateway"]["ports"] = {"ike": 70000}
    one, other = FILTERS.problems(wrong, SCHEMA)
    assert one.startswith("xfrmctl.connections.c.children.lan: ") and "replay_windows" in one
    assert other.startswith("xfrmctl.gateway.ports.ike: ") and "70000" in other


def test_secrets_among_the_connections_are_told_by_their_place_alone() -> None:
    """In the place of the name of a file they would show in the diff of the file that they are written to."""
    auths: list[Any] = [
        {"psk": "boring"},
        {"psk": "!file secrets/x"},
        {"psk": "!credential x"},
        {"psks": {"fqdn:a": "boring", "fqdn:b": "!file x"}},
        {"psk": 12345678},
        {"certificate": "x.pem"},
        "no mapping",
    ]
    sections = {"connections": {f"c{number}": {"auth": auth} for number, auth in enumerate(auths)} | {"d": None}}
    assert FILTERS.bare_secrets(sections) == [
        "xfrmctl_connections.c0.auth.psk",
        "xfrmctl_connections.c3.auth.psks.fqdn:a",
        "xfrmctl_connections.c4.auth.psk",
    ]


def test_answers_of_the_program_are_read() -> None:
    assert FILTERS.up({"connections": [{"name": "a", "state": "up"}, {"name": "b", "state": "down"}]}) == ["a"]
    assert FILTERS.up({}) == []
    gateway = [
        {"cost": "none", "keys": [{"key": "gateway.icmp.frag_needed"}]},
        {"cost": "restart", "keys": [{"key": "gateway.ports.ike"}]},
    ]
    assert FILTERS.waiting({"waiting": ["gateway.metrics"], "gateway": gateway}) == [
        "gateway.metrics",
        "gateway.ports.ike",
    ]


def test_the_schema_is_the_programs() -> None:
    carried = json.loads((COLLECTION / "roles/xfrmctl/files/xfrmctl.schema.json").read_text())
    assert carried == SCHEMA, "make docs-config"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_those_that_are_documented(role: Path) -> None:
    ways = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text())
    assert defaults.keys() == {name for way in ways.values() for name in way["options"]}
    for way in ways.values():
        told = {name: option["default"] for name, option in way["options"].items() if not option.get("required")}
        assert told == {name: defaults[name] for name in told}


def test_the_inventory_of_the_readme_is_one() -> None:
    """Variables that there are, and a configuration that the program takes but for the secret's file."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", (COLLECTION / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    gateways, monitoring = (next(iter(yaml.safe_load(block).values())) for block in blocks)
    host = gateways["hosts"]["moon"] | gateways["vars"]
    for role, found in zip(ROLES, (host, monitoring["vars"]), strict=True):
        options = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
        assert {name for name in found if name.startswith("xfrmctl_")} <= options.keys()
    sections = {"gateway": {}, "policies": {}, "connections": host["xfrmctl_connections"]}
    assert FILTERS.problems(sections, SCHEMA) == [] == FILTERS.bare_secrets(sections)
    (secret,) = host["xfrmctl_secrets"]
    assert f"!file 'secrets/{secret}'" in FILTERS.configuration(sections, SCHEMA)


def test_what_it_carries_along_is_the_projects() -> None:
    """Links to files, since a build of the collection follows those, and leaves out links to directories."""
    links = {path for path in COLLECTION.rglob("*") if path.is_symlink()}
    assert all(path.is_file() and path.resolve().is_relative_to(HERE) for path in links)
    carried = {path.resolve() for path in links}
    wanted = [*(HERE / "deploy/prometheus/rules").iterdir(), *(HERE / "deploy/grafana").rglob("*.*")]
    assert carried >= {path for path in wanted if path.is_file()} | {HERE / "deploy/prometheus/prometheus.yml"}
