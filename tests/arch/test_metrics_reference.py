"""The reference of the metrics: every family is there, says what it means and what to do; the page is current."""

import re
from pathlib import Path

from tools.metrics_reference import PAGE, SECTIONS, page
from xfrmctl.metrics.family import Kind
from xfrmctl.metrics.scrape import FAMILIES

ROOT = Path(__file__).parents[2]
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
        assert re.fullmatch(r"(xfrmctl|process)(_[a-z0-9]+)+", family.name), family.name
        assert not family.name.endswith(("_total", "_info", "_count", "_sum", "_bucket", "_ms", "_kb")), family.name
        assert all(re.fullmatch(r"[a-z]+", label) for label in family.labels), family
        assert not set(family.labels) & {"spi", "ike", "address", "le"}, family
        if family.kind is Kind.HISTOGRAM:
            assert family.unit == "seconds", family.name


def test_dashboards_and_alerts_ask_for_what_there_is() -> None:
    """A name that no scrape has is a panel without data, and an alert that never fires."""
    known: set[str] = set()
    for family in FAMILIES:
        suffixes = ("_bucket", "_sum", "_count") if family.kind is Kind.HISTOGRAM else ("",)
        known |= {family.sample + suffix for suffix in suffixes}
    files = [file for kind in ("json", "yml", "yaml") for file in (ROOT / "deploy").rglob(f"*.{kind}")]
    asked = {name for file in files for name in re.findall(r"(?<![\w:])xfrmctl_[a-z0-9_]+(?![\w:])", file.read_text())}
    assert len(asked) > 20
    assert not asked - known
