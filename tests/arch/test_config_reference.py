"""The reference of the configuration: every key is there and says what it is for; the page is current."""

from copy import deepcopy

from tools.config_reference import EXAMPLES, ORDER, PAGE, faults, page, sections
from xfrmctl.config import schema
from xfrmctl.config.jsonschema import annotated_schema
from xfrmctl.config.mapping import Strict

WHOLE = annotated_schema()
SECTIONS = sections(WHOLE)


def test_every_key_says_what_it_is_for() -> None:
    silent = faults(SECTIONS)
    assert not silent, f"write a docstring (xfrmctl/config/schema*.py): {silent}"


def test_a_silent_key_is_found() -> None:
    for part, key, wanted in (
        ("Child", "df", "connections.NAME.children.NAME: df"),
        ("Icmp", "frag_needed", "gateway.icmp: frag_needed"),
    ):
        broken = deepcopy(WHOLE)
        del broken["$defs"][part]["properties"][key]["description"]
        assert faults(sections(broken)) == [wanted]


def test_a_silent_section_is_found() -> None:
    broken = deepcopy(WHOLE)
    del broken["$defs"]["Ports"]["description"]
    assert faults(sections(broken)) == ["gateway.ports", "gateway: ports"]


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(SECTIONS), "run make docs-config"


def test_every_mapping_and_key_is_there() -> None:
    known = [{key.name for key in section.keys} for section in SECTIONS]
    mappings: list[type[Strict]] = [*Strict.__subclasses__(), schema.LocalSide]
    assert len(known) == len(mappings)
    for mapping in mappings:
        assert set(mapping.model_fields) in known, mapping.__name__


def test_values_and_defaults_are_as_one_would_write_them() -> None:
    by_path = {section.path: {key.name: key for key in section.keys} for section in SECTIONS}
    ike, child = by_path["connections.NAME.ike"], by_path["connections.NAME.children.NAME"]
    assert (ike["rekey"].value, ike["rekey"].default) == ("duration such as 30s, or off", "`4h`")
    assert ike["reauth"].default == "`off`"
    assert child["df"].value == "`copy`, `set`, `clear`"
    assert child["ah"].value.startswith("one or a list: AH proposal")
    assert by_path["gateway.ports"]["ike"].value == "1 to 65535"
    assert by_path["policies.NAME"]["action"].default == "required"


def test_every_link_leads_somewhere() -> None:
    text = PAGE.read_text()
    headings = {line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")}
    anchors = {"".join(c for c in h if c.isalnum() or c in "-_") for h in headings}
    linked = {part.split(")")[0] for part in text.split("](#")[1:]}
    assert linked <= anchors


def test_every_example_is_shown() -> None:
    assert sorted(f"{name}.yaml" for name in ORDER) == sorted(f.name for f in EXAMPLES.iterdir())
