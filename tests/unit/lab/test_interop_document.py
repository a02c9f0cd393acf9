"""docs/interop.md: it says what the cells say, and results that are not as it says are noticed."""

from pathlib import Path

from tests.lab.matrix import results
from tests.lab.matrix.cells import CANNOT, PEERS, chosen, events

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "interop.md"


def test_the_document_is_that_of_the_cells_and_all_of_them_work() -> None:
    """Whoever changes a cell, a reason or a fact runs the tests in the lab and `make docs-interop`."""
    text = DOCUMENT.read_text()
    assert text == results.render(results.all_passed(), results.versions_of(text))
    assert set(results.versions_of(text)) == set(PEERS)
    assert all(cannot.why in text for peer in PEERS for cannot in CANNOT[peer])


def test_a_failure_and_a_gap_are_named() -> None:
    outcomes = results.all_passed()
    assert results.missing(outcomes) == []
    outcomes["libreswan", "cell", chosen("libreswan")[0].id] = False
    del outcomes["openiked", "event", events("openiked")[0].id]
    failed, gone = results.missing(outcomes)
    assert failed.endswith("failed") and gone.endswith("not tried")
    text = results.render(outcomes, {})
    assert "1 FAILED" in text and "1 not tried" in text and "| FAILED |" in text


def test_results_are_read_from_junit(tmp_path: Path) -> None:
    def case(name: str, inside: str = "") -> str:
        properties = f'<property name="interop" value="{name}"/><property name="version" value="4.10"/>'
        return f'<testcase name="x"><properties>{properties}</properties>{inside}</testcase>'

    file = tmp_path / "a.junit.xml"
    body = case("libreswan cell a-b") + case("libreswan event kill", "<failure/>") + '<testcase name="other"/>'
    file.write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>")
    outcomes, versions = results.read([file])
    assert outcomes == {("libreswan", "cell", "a-b"): True, ("libreswan", "event", "kill"): False}
    assert versions == {"libreswan": "4.10"}
