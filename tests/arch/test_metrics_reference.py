"""The reference of the metrics: every family is there, says what it means and what to do; the page is current."""

import re

from tools.metrics_reference import PAGE, SECTIONS, page
from xfrmctl.metrics.family import Kind
from xfrmctl.metrics.scrape import FAMILIES

SHOWN = [family for _, families in SECTIONS for family in families]


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run make docs-metrics"


def test_every_family_is_in_one_section() -> None:
    assert sorted(f.name for f in SHOWN) == sorted(f.name for f in FAMILIES)
    assert len({f.sample for f in SHOWN}) == len(SHOWN)


def test_every_family_says_what_it_means_and_what_to_do() -> None:
    for family in FAMILIES:
        assert family.help.endswith(".") and family.advice.endswith("."), family.name
        assert family.help[0].isupper() or family.help.startswith("1 "), family.name


def test_names_follow_the_conventions() -> None:
    """As in https://prometheus.io/docs/practices/naming; suffixes of the type are put on by the exposition."""
    for family in FAMILIES:
        assert re.fullmatch(r"xfrmctl(_[a-z0-9]+)+", family.name), family.name
        assert not family.name.endswith(("_total", "_info", "_count", "_sum", "_bucket", "_ms", "_kb")), family.name
        assert all(re.fullmatch(r"[a-z]+", label) for label in family.labels), family
        assert not set(family.labels) & {"spi", "ike", "address", "le"}, family
        if family.kind is Kind.HISTOGRAM:
            assert family.unit == "seconds", family.name
