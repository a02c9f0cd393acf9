"""The RFC ledger keeps its promise: every duty has tests that exist, or a reason; the page is current."""

import pytest

from tools.rfc_ledger import PAGE, Duty, Ledger, _faults_of, compare, faults, load, page, words_of

LEDGERS = load()


@pytest.mark.parametrize("ledger", LEDGERS, ids=lambda found: found.rfc)
def test_every_duty_has_its_tests_or_a_reason(ledger: Ledger) -> None:
    found = [f for d in ledger.duties for f in _faults_of(ledger, d)]
    assert not found, "\n".join(found)


def test_every_marker_names_a_section_that_exists() -> None:
    found = faults(LEDGERS)
    assert not found, "\n".join(found)


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(LEDGERS), "run tools/rfc_ledger.py"


def test_the_five_rfcs_are_there() -> None:
    assert [found.rfc for found in LEDGERS] == ["7296", "3948", "4555", "7383", "7427"]
    assert all(len({d.id for d in found.duties}) == len(found.duties) > 0 for found in LEDGERS)


@pytest.mark.parametrize(
    "duty",
    [
        Duty("1-1-1", "1", "no test at all"),
        Duty("1-1-1", "1", "no negative", positive="arch/test_ledger.py::test_the_page_is_current"),
        Duty("1-1-1", "1", "gone", positive="arch/test_ledger.py::test_gone", kind="no_negative", reason="x"),
        Duty("1-1-1", "1", "no file", positive="arch/test_nobody.py::test_gone", kind="no_negative", reason="x"),
        Duty("1-1-1", "1", "both", positive="x", kind="not_ours", reason="x"),
    ],
    ids=lambda duty: duty.duty,
)
def test_faults_are_found(duty: Duty) -> None:
    assert _faults_of(Ledger("1", "", {"1"}, [duty]), duty)


def test_words_are_counted_by_section() -> None:
    text = "1. One\n\n   It MUST be and\n   MUST NOT be.\n\n2.1. Two\n\n   A thing is REQUIRED, not must.\n9. no\n"
    assert words_of(text, {"1", "2.1"}) == {"1": 2, "2.1": 1}
    ledger = Ledger(
        "1", "", {"1", "2.1"}, [Duty("1-1-1", "1", "both", words=2), Duty("1-2.1-1", "2.1", "more", words=3)]
    )
    assert compare(ledger, text) == ["RFC 1 section 2.1: 1 in the text, 3 in the ledger"]
