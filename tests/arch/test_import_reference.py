"""The page about imports is current, and says something of every option."""

from tools.import_reference import PAGE, PRODUCTS, page
from xfrmctl.importers.report import Fate


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run make docs-import"


def test_every_row_says_where_to_or_why() -> None:
    silent = [
        f"{product}: {section}: {option}"
        for product, tables in PRODUCTS.items()
        for section, table in tables.items()
        for option, known in table.items()
        if not (known.to or known.note) or (known.fate is Fate.DROPPED and not known.note)
    ]
    assert not silent
