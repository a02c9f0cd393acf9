"""Help and manual: every verb teaches with examples that can be typed, every option says what it is for, the manual
pages are current and well-formed."""

import shlex
import shutil
import subprocess
from typing import Any

import pytest
import typer

from tools.man_pages import PAGES, PLACE, Verb, verbs
from xfrmctl.cli.main import app
from xfrmctl.cli.usage import ELSEWHERE
from xfrmctl.lab.app import app as lab

VERBS = verbs()
ENDS = {"|", "&&", ">", ";"}


def name(verb: Verb) -> str:
    return verb.name


def parse(words: list[str]) -> None:
    """Have the command line understand the words, and do nothing."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("xfrmctl", words)
    command, rest = typer.main.get_command(app), words
    while True:
        context.params.clear()
        verb, command, rest = command.resolve_command(context, rest)  # type: ignore[attr-defined]
        if verb == "lab":
            if not rest:
                return
            command = typer.main.get_command(lab)
            continue
        command.make_context(verb, rest)
        return


@pytest.mark.parametrize("verb", VERBS, ids=name)
def test_every_verb_has_text_and_an_example(verb: Verb) -> None:
    assert verb.text, f"{verb.name} has no docstring"
    assert verb.examples, f"{verb.name}: write an example into its docstring"
    assert any(f"xfrmctl {verb.name}" in example for example in verb.examples)


@pytest.mark.parametrize("verb", VERBS, ids=name)
def test_every_parameter_says_what_it_is_for(verb: Verb) -> None:
    silent = [p.names for p in verb.parameters if len(p.help) < 5]
    assert not silent, f"{verb.name}: help= of {silent}"


@pytest.mark.parametrize("verb", VERBS, ids=name)
def test_every_example_can_be_typed(verb: Verb) -> None:
    for example in verb.examples:
        words = shlex.split(example)
        while words:
            end = next((n for n, word in enumerate(words) if word in ENDS), len(words))
            if words[0] == "xfrmctl":
                parse(words[1:end])
            words = words[end + 1 :]


def test_a_wrong_example_is_found() -> None:
    for words in (["shw"], ["show", "--jsn"], ["lab", "demoo"], ["up"], ["daemon", "--log-level", "loud"]):
        with pytest.raises(Exception, match=r".") as caught:
            parse(words)
        assert type(caught.value).__module__.startswith(("typer", "click"))


def test_the_manual_has_every_verb_of_the_command() -> None:
    commands = {command.name for command in app.registered_commands}
    assert commands | {"lab"} <= {verb.name for verb in VERBS}
    assert set(ELSEWHERE.values()) <= commands and not set(ELSEWHERE) & commands


@pytest.mark.parametrize("page", PAGES)
def test_the_manual_is_current(page: str) -> None:
    assert (PLACE / page).read_text() == PAGES[page](), "run make docs-man"


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed: tools/setup.sh test")
@pytest.mark.parametrize("page", PAGES)
def test_the_manual_is_well_formed(page: str) -> None:
    command = ["mandoc", "-T", "lint", "-W", "warning", str(PLACE / page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    told = [line for line in done.stdout.splitlines() if "missing date" not in line]  # a page of no day in particular
    assert not told
