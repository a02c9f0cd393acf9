"""Every message that a user can meet is in the catalogue, with a cause and a cure; and what is not is found."""

import ast

import pytest

from tools.messages import (
    AREAS,
    KERNEL,
    LAB,
    NEGOTIATION,
    PAGE,
    Message,
    classes,
    faults,
    messages,
    page,
    trees,
)
from xfrmctl.diagnose.catalogue import CATALOGUE

SOURCE = trees()
FOUND = messages(SOURCE)


def said(module: str, text: str) -> list[Message]:
    """What a module of this text would say."""
    return [message for message in messages(few(module, text)) if message.where.startswith(module)]


def wrong(module: str, text: str) -> list[str]:
    """What is wrong with a module of this text."""
    return [fault for fault in faults(few(module, text)) if fault.startswith(module)]


def few(module: str, text: str) -> dict[str, ast.Module]:
    """The module of this text, with the classes of error that it may build upon."""
    return {name: SOURCE[name] for name in ("model/errors.py", "lab/errors.py")} | {module: ast.parse(text)}


def test_every_message_has_a_cause_and_a_cure() -> None:
    assert not faults(SOURCE)


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(FOUND), "run make docs-messages"


def test_every_area_has_messages_and_every_finding_is_there() -> None:
    assert {message.area for message in FOUND} == set(AREAS)
    text = page(FOUND)
    assert all(f"`{name}`: " in text for name in CATALOGUE)


def test_messages_that_users_meet_often_are_there() -> None:
    texts = {(message.area, message.text) for message in FOUND}
    assert (NEGOTIATION, "no common … proposal: the peer offers nothing that we accept") in texts
    assert (KERNEL, "the kernel has no algorithm …") in texts
    assert any(text.startswith("no daemon listens at") for _, text in texts)
    assert any(message.area == LAB and message.cure == "run it with sudo" for message in FOUND)


@pytest.mark.parametrize(
    ("module", "text", "told"),
    [
        ("new/a.py", "class NewError(XfrmctlError):\n    pass\n", "NewError is an error that is not in the catalogue"),
        ("new/a.py", "class Deep(LabError):\n    pass\n", "Deep is an error that is not in the catalogue"),
        ("new/a.py", "def f():\n    raise UnusableInput(f'{x} is no good')\n", "no cure: UnusableInput: … is no good"),
        (
            "ike/some_failures.py",
            "Failure(code=C.X, text='it broke', cause='', cure='mend it')",
            "no cause: Failure: it broke",
        ),
        ("ike/failures.py", "Failure(code=C.X, text='it broke', cause='rust')", "no cure: Failure: it broke"),
        ("ike/engine.py", "Failure(code=C.X, text='a', cause='b', cure='c')", "a Failure is made in ike/*failures.py"),
        ("config/a.py", "def f(report):\n    report(key, 'too long', '')\n", "no cure: report: too long"),
        ("config/a.py", "raise Wrong('too long', '')", "no cure: Wrong: too long"),
        ("cli/a.py", "raise typer.BadParameter('what a word')", "no cure: BadParameter: what a word"),
        ("daemon/a.py", "raise RequestError('not now', '')", "no cure: RequestError: not now"),
        ("daemon/a.py", "x = ActionResult(ok=False, message='it is not up')", "no cure: ActionResult: it is not up"),
        ("daemon/a.py", "self.faults.append('it is gone')", "no cure: append: it is gone"),
        ("daemon/a.py", "problems.append('it is gone')", "no cure: append: it is gone"),
        ("daemon/a.py", "tell(KernelTrouble(problem='it is gone'))", "no cure: KernelTrouble: it is gone"),
        ("daemon/a.py", "tell(KernelTrouble(problem=self._words(1)))", "what _words returns is not in the catalogue"),
        ("kernel/a.py", "problems.append(words())", "what words returns is not in the catalogue"),
        ("page/a.py", "log.warning('it is gone')", "a log line warning that is not in the catalogue"),
        ("kernel/a.py", "self._logger.critical('it is gone')", "a log line critical that is not in the catalogue"),
        ("page/a.py", "log.exception('it is gone')", "no cure: exception: it is gone"),
        ("page/a.py", "_refusal(404, 'it is gone', '')", "no cure: _refusal: it is gone"),
        ("cli/a.py", "print('it is gone', file=sys.stderr)", "words of its own on stderr"),
        ("cli/outcome.py", "print(f'xfrmctl: {x} is gone', file=sys.stderr)", "words of its own on stderr"),
        ("cli/a.py", "typer.echo('it is gone', err=True)", "words of its own on stderr"),
        ("cli/a.py", "sys.stderr.write('it is gone')", "words of its own on stderr"),
        ("cli/a.py", "raise SystemExit('it is gone')", "an end with words of its own"),
        ("cli/a.py", "sys.exit('it is gone')", "an end with words of its own"),
        ("cli/a.py", "from b import RequestError as R\nraise R('it is gone', '')", "RequestError goes by another name"),
        ("new/a.py", "class New(errors.XfrmctlError):\n    pass", "New is an error that is not in the catalogue"),
        ("diagnose/rules/a.py", "Finding(id='x', symptom='s', cause='', cure_here='c')", "no cause: Finding: s"),
        ("diagnose/rules/a.py", "Finding(id='x', symptom='s', cause='c', cure_here='')", "no cure: Finding: s"),
    ],
)
def test_what_is_not_in_the_catalogue_is_found(module: str, text: str, told: str) -> None:
    assert any(told in fault for fault in wrong(module, text)), wrong(module, text)


def test_what_hands_on_what_others_say_is_no_message_of_its_own() -> None:
    assert not wrong("cli/outcome.py", "print(f'xfrmctl: {line}', file=sys.stderr)")
    assert not wrong("daemon/a.py", "tell(KernelTrouble(problem=str(error)))")
    assert not wrong("cli/a.py", "raise SystemExit(1)")
    assert not wrong("cli/a.py", "print('it is here')")


def test_what_a_function_says_for_others_is_there() -> None:
    texts = {message.text for message in FOUND}
    assert any(text.startswith("the route to …, the far end of …, leads into") for text in texts)


def test_a_new_message_makes_the_page_old() -> None:
    text = "raise UnusableInput('an unheard-of thing; leave it')"
    assert not wrong("new/a.py", text)
    assert page([*FOUND, *said("new/a.py", text)]) != page(FOUND)


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        (
            "def f():\n    cause = 'one'\n    report(k, cause, 'x')\n    cause = 'two'\n    report(k, cause, 'y')",
            ["one", "two"],
        ),
        ("def f():\n    cause = 'one' if a else 'two'\n    report(k, cause, 'x')", ["one", "two"]),
        (
            "def f():\n    if a:\n        cause = 'one'\n    else:\n        cause = 'two'\n    report(k, cause, 'x')",
            ["one", "two"],
        ),
        (
            "def f():\n    if a:\n        cause = 'one'\n        warn(k, cause, 'x')\n    else:\n        cause = 'two'",
            ["one"],
        ),
        ("def f():\n    cause, cure = f'a {b}', 'x'\n    report(k, cause, cure)", ["a …"]),
        ("def f():\n    report(k, 'a ' + b, 'x')", ["a …"]),
        ("def f():\n    report(k, wrong.cause, wrong.cure)", []),
    ],
)
def test_what_is_said_is_read_from_the_source(text: str, texts: list[str]) -> None:
    assert sorted(message.text for message in said("config/a.py", text)) == sorted(texts)


def test_what_is_true_of_a_class_is_true_of_those_below_it() -> None:
    found = classes(SOURCE)
    assert found["UnsupportedCritical"].cure != found["WireError"].cure != ""
    assert found["CaptureError"].cure and not found["XfrmctlError"].cure
