"""Whatever a file says: parsers end, raise their one error, and show no text; nothing that is read is lost."""

import string
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfrmctl.importers.origin import ImportFault, Place
from xfrmctl.importers.syntax import sections

WORDS = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=8)
VALUES = st.text(string.ascii_letters + string.digits + " ./%@*-,", max_size=20)
PIECES = st.sampled_from(
    ["{", "}", "=", "\n", '"', "\\", "#", ":", ",", "@#", " ", "\t", "include x", "a", "b", "§", "\x0b", "\f"]
)
SECRET = "do-not-show-me"


def nothing(pattern: str, place: Place, depth: int) -> Iterable[tuple[str, str]]:
    return []


def itself(pattern: str, place: Place, depth: int) -> Iterable[tuple[str, str]]:
    if depth > 4:
        raise ImportFault(place, "deep", "")
    return [("other", pattern), ("third", "a = b\n")]


@given(st.lists(PIECES, max_size=40).map("".join))
@settings(max_examples=300, deadline=None)
def test_sections_from_pieces(text: str) -> None:
    try:
        tree = sections.parse(text, "f", itself)
        for section in tree.root.walk():
            sections.inherited(tree, section)
    except ImportFault as fault:
        assert fault.place.line >= 1


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_sections_from_any_text(text: str) -> None:
    try:
        sections.parse(text, "f", nothing)
    except ImportFault as fault:
        assert 1 <= fault.place.line <= text.count("\n") + 1


@given(st.dictionaries(WORDS, st.dictionaries(WORDS, VALUES, max_size=4), max_size=4))
def test_sections_are_read_as_they_were_written(data: dict[str, dict[str, str]]) -> None:
    text = "".join(
        f"{name} {{\n" + "".join(f'  {key} = "{value}"\n' for key, value in inner.items()) + "}\n"
        for name, inner in data.items()
    )
    tree = sections.parse(text, "f", nothing)
    found = {n: {k: s.value for k, s in section.settings.items()} for n, section in tree.root.sections.items()}
    assert found == data
    assert len(tree.settings) == sum(len(inner) for inner in data.values())


@pytest.mark.parametrize("text", [f"a {{\n {SECRET} {{\n", f'a = "{SECRET}\n', f"{SECRET}\n}}\n", f"a = {SECRET}}}\n"])
def test_a_fault_never_shows_the_text(text: str) -> None:
    with pytest.raises(ImportFault) as caught:
        sections.parse(text, "f", nothing)
    assert SECRET not in str(caught.value)


def test_sections_do_not_go_too_deep() -> None:
    with pytest.raises(ImportFault, match="too deep"):
        sections.parse("a {\n" * 100, "f", nothing)
