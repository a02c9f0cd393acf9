#!/usr/bin/env python3
"""The ledger of RFC duties (tests/ledger/rfc*.yaml) as a page, and what is wrong with it.

    tools/rfc_ledger.py                            write docs/rfc-ledger.md
    tools/rfc_ledger.py --check                    say what is wrong or out of date; exit status 1 if anything is
    tools/rfc_ledger.py --text 7296 rfc7296.txt    count the words MUST, SHALL and REQUIRED of an RFC by section
                                                   against those that the ledger answers for

A duty is one MUST or MUST NOT in our own words (``words`` of them where it joins several). It has a test that shows it
(``positive``) and a test that shows what becomes of a breach (``negative``), or the reason why not: ``not_ours`` where
it is about something that is not here, ``untested`` or ``no_negative`` otherwise. Tests are named from ``tests/`` on.
"""

import argparse
import ast
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "rfc-ledger.md"
FIELDS = {"id", "words", "duty", "positive", "negative", "not_ours", "untested", "no_negative"}
REASONS = ("not_ours", "untested", "no_negative")

Marks = set[tuple[str, str]]


@dataclass(frozen=True)
class Duty:
    """One entry. ``positive`` and ``negative`` are node ids; ``reason`` says why one or both are missing."""

    id: str
    section: str
    duty: str
    words: int = 1
    positive: str = ""
    negative: str = ""
    kind: str = ""
    reason: str = ""

    @property
    def state(self) -> str:
        """``both``, or the field that gives the reason."""
        return self.kind or "both"


@dataclass
class Ledger:
    """One RFC: its sections, and its duties in the order of the text."""

    rfc: str
    title: str
    sections: set[str]
    duties: list[Duty]
    faults: list[str] = field(default_factory=list)


def load() -> list[Ledger]:
    """All ledgers, RFC 7296 first."""
    found = [_ledger(yaml.safe_load(p.read_text()), p.name) for p in sorted((TESTS / "ledger").glob("rfc*.yaml"))]
    return sorted(found, key=lambda found_: (found_.rfc != "7296", found_.rfc))


def _ledger(raw: dict[str, Any], name: str) -> Ledger:
    ledger = Ledger(str(raw["rfc"]), raw["title"], set(raw["sections"].split()), [])
    if name != f"rfc{ledger.rfc}.yaml":
        ledger.faults.append(f"{name} is about RFC {ledger.rfc}")
    numbers: Counter[str] = Counter()
    for entry in raw["duties"]:
        rfc, section, number = str(entry["id"]).split("-")
        numbers[section] += 1
        if rfc != ledger.rfc or section not in ledger.sections or number != str(numbers[section]):
            ledger.faults.append(f"{entry['id']}: not the next id of a section of RFC {ledger.rfc}")
        if set(entry) - FIELDS:
            ledger.faults.append(f"{entry['id']}: unknown {', '.join(sorted(set(entry) - FIELDS))}")
        given = [r for r in REASONS if entry.get(r)]
        ledger.duties.append(
            Duty(
                id=entry["id"],
                section=section,
                duty=entry["duty"],
                words=entry.get("words", 1),
                positive=entry.get("positive", ""),
                negative=entry.get("negative", ""),
                kind=given[0] if given else "",
                reason=entry[given[0]] if given else "",
            )
        )
    return ledger


@cache
def marks(path: Path) -> dict[str, Marks]:
    """Tests of a file, and the (number, section) of their ``rfc`` markers."""
    found: dict[str, Marks] = {}
    body = ast.parse(path.read_text()).body
    of_all = {m for node in body if isinstance(node, ast.Assign) for m in _marks_of_module(node)}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            found[node.name] = of_all | {m for d in node.decorator_list if (m := _mark(d)) is not None}
    return found


def _marks_of_module(node: ast.Assign) -> Marks:
    if ast.unparse(node.targets[0]) != "pytestmark":
        return set()
    given = node.value.elts if isinstance(node.value, ast.List) else [node.value]
    return {m for g in given if (m := _mark(g)) is not None}


def _mark(decorator: ast.expr) -> tuple[str, str] | None:
    if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func) != "pytest.mark.rfc":
        return None
    number, section = (a.value if isinstance(a, ast.Constant) else "" for a in decorator.args)
    return str(number), str(section)


def faults(ledgers: list[Ledger]) -> list[str]:
    """Everything that is wrong with the ledgers and with the markers of the tests."""
    found = [f for ledger in ledgers for f in ledger.faults]
    for ledger in ledgers:
        for duty in ledger.duties:
            found += _faults_of(ledger, duty)
    sections = {ledger.rfc: ledger.sections for ledger in ledgers}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, marked in marks(path).items():
            for number, section in sorted(marked):
                if not number.isdecimal() or (number in sections and section not in sections[number]):
                    found.append(f"{path.relative_to(ROOT)}::{name}: RFC {number} has no section {section}")
    return found


def _faults_of(ledger: Ledger, duty: Duty) -> list[str]:
    found = []
    for node in (duty.positive, duty.negative):
        if not node:
            continue
        file, _, name = node.partition("::")
        tests = marks(TESTS / file) if (TESTS / file).is_file() else {}
        if name not in tests:
            found.append(f"{duty.id}: there is no test {node}")
        elif (ledger.rfc, duty.section) not in tests[name]:
            found.append(f'{duty.id}: {node} has no @pytest.mark.rfc("{ledger.rfc}", "{duty.section}")')
    wanted = {
        "not_ours": (False, False),
        "untested": (False, False),
        "no_negative": (True, False),
        "": (True, True),
    }[duty.kind]
    if (bool(duty.positive), bool(duty.negative)) != wanted:
        found.append(f"{duty.id}: a positive and a negative test, or the reason why not")
    return found


def page(ledgers: list[Ledger]) -> str:
    """The page for readers."""
    lines = [
        "# RFC ledger",
        "",
        "Every MUST and MUST NOT of the RFCs that xfrmctl is about, in our own words: the test that shows that it is",
        "kept, the test that shows what becomes of a breach, or the reason why there is none. Written by",
        "`tools/rfc_ledger.py` from `tests/ledger/`; `make test-host` checks that it is current.",
        "",
        "| RFC | duties | both tests | positive only, with reason | untested, with reason | not ours |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for ledger in ledgers:
        count = Counter(d.state for d in ledger.duties)
        figures = (len(ledger.duties), *(count[k] for k in ("both", "no_negative", "untested", "not_ours")))
        lines.append(f"| [{ledger.rfc}](#rfc-{ledger.rfc}) {ledger.title} | {' | '.join(map(str, figures))} |")
    for ledger in ledgers:
        lines += [
            "",
            f"## RFC {ledger.rfc}",
            "",
            f"{ledger.title}.",
            "",
            "| id | duty | kept | breach |",
            "|---|---|---|---|",
        ]
        lines += [_row(d) for d in ledger.duties]
    return "\n".join(lines) + "\n"


def _row(duty: Duty) -> str:
    kept, breach = (f"`{t}`" if t else "" for t in (duty.positive, duty.negative))
    if duty.kind == "no_negative":
        breach = duty.reason
    elif duty.kind:
        kept = ("not ours: " if duty.kind == "not_ours" else "untested: ") + duty.reason
    return f"| {duty.id} | {duty.duty} | {kept} | {breach} |"


WORDS = re.compile(r"\b(MUST|SHALL|REQUIRED)\b")
HEADING = re.compile(r"^(?:Appendix )?(\d+(?:\.\d+)*|[A-C](?:\.\d+)*)\.\s+\S")


def words_of(text: str, sections: set[str]) -> Counter[str]:
    """How many MUST, SHALL and REQUIRED (NOT or not) each section of an RFC's plain text has."""
    found: Counter[str] = Counter()
    section = ""
    for line in text.splitlines():
        heading = HEADING.match(line)
        if heading is not None and heading.group(1) in sections:
            section = heading.group(1)
        elif '"MUST' not in line and '"REQUIRED' not in line:
            found[section] += len(WORDS.findall(line))
    del found[""]
    return found


def compare(ledger: Ledger, text: str) -> list[str]:
    """Sections whose words are not as many as the ledger answers for."""
    said, answered = words_of(text, ledger.sections), Counter[str]()
    for duty in ledger.duties:
        answered[duty.section] += duty.words
    return [
        f"RFC {ledger.rfc} section {s}: {said[s]} in the text, {answered[s]} in the ledger"
        for s in sorted(said | answered)
        if said[s] != answered[s]
    ]


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="The ledger of RFC duties.")
    parser.add_argument("--check", action="store_true", help="say what is wrong or out of date")
    parser.add_argument("--text", nargs=2, metavar=("RFC", "FILE"), help="compare with the text of an RFC")
    arguments = parser.parse_args()
    ledgers = load()
    wrong = faults(ledgers)
    if arguments.text:
        number, file = arguments.text
        wrong = compare(next(found for found in ledgers if found.rfc == number), Path(file).read_text())
    elif arguments.check:
        if not PAGE.is_file() or PAGE.read_text() != page(ledgers):
            wrong.append(f"{PAGE.relative_to(ROOT)} is out of date: run tools/rfc_ledger.py")
    else:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(ledgers))
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
