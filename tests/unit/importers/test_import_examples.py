"""Whole files, in the style of the products' own examples: configuration and report to the letter."""

import pytest

from tests.unit.importers.imports import options_in
from tests.unit.importers.make_examples import EXAMPLES, NAMES, made
from xfrmctl.importers.detect import dialect_of


@pytest.mark.parametrize("name", NAMES)
def test_examples_become_what_they_did(name: str) -> None:
    _, config, report = made(name)
    again = "python -m tests.unit.importers.make_examples, and read the difference"
    assert config == (EXAMPLES / f"{name}.yaml").read_text(), again
    assert report == (EXAMPLES / f"{name}.txt").read_text(), again


@pytest.mark.parametrize("name", NAMES)
def test_every_line_of_an_example_is_told_and_the_check_passes(name: str) -> None:
    found, _, _ = made(name)
    told = {e.place.line for e in found.report.entries if e.place and e.place.file.endswith(f"{name}.conf")}
    assert options_in((EXAMPLES / f"{name}.conf").read_text()) <= told
    assert not found.problems and found.left_out


@pytest.mark.parametrize("name", NAMES)
def test_the_dialect_is_found_out(name: str) -> None:
    assert dialect_of((EXAMPLES / f"{name}.conf").read_text(), f"{name}.conf") is NAMES[name]
