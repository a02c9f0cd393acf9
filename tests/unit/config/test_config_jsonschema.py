"""The published schema: valid JSON, knows every key, and each of its keys can be written."""

import json

from xfrmctl.config import schema
from xfrmctl.config.jsonschema import json_schema


def test_schema_is_json_and_strict() -> None:
    found = json.loads(json.dumps(json_schema()))
    assert found["$schema"].startswith("https://json-schema.org/")
    for name, part in found["$defs"].items():
        assert part["additionalProperties"] is False, name


def test_schema_has_every_key_of_a_child() -> None:
    keys = json_schema()["$defs"]["Child"]["properties"]
    assert set(keys) == set(schema.Child.model_fields)
    assert "outer MTU" in keys["mtu"]["description"]
    unless = json_schema()["$defs"]["Child"]
    assert unless["if"]["properties"] == {"mode": {"pattern": "^transport"}}
    assert unless["else"]["required"] == ["local_ts", "remote_ts"]
