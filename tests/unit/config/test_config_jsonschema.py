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
    transport, device = unless["if"]["anyOf"]
    assert transport["properties"] == {"mode": {"pattern": "^transport"}}
    assert device["required"] == ["tunnel"]
    assert unless["else"]["required"] == ["local_ts", "remote_ts"]


def test_what_a_key_means_and_how_its_value_is_written_are_one_description() -> None:
    found = json_schema()
    rekey = found["$defs"]["Ike"]["properties"]["rekey"]
    assert rekey["description"].startswith("Age at which the IKE SA gets new keys")
    assert rekey["description"].endswith("Written: duration such as 30s, or off.")
    assert rekey["default"] == "4h"
    assert "x-written" not in json.dumps(found)


def test_a_list_of_one_may_be_written_as_a_value() -> None:
    single, many = json_schema()["$defs"]["Child"]["properties"]["esp"]["anyOf"]
    assert single["type"] == "string"
    assert (many["type"], many["items"], many["minItems"]) == ("array", single, 1)


def test_whole_numbers_have_their_range() -> None:
    port = json_schema()["$defs"]["Ports"]["properties"]["ike"]
    assert (port["type"], port["minimum"], port["maximum"], port["default"]) == ("integer", 1, 65535, 500)
