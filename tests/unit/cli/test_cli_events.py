"""``xfrmctl events`` as a user runs it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.test_cli import Run
from tests.unit.control.gateway_values import Gateway, serving
from xfrmctl.cli.events import line
from xfrmctl.control.events import GROUPS, event_name
from xfrmctl.model.selection import EventSelection

FAILED = {
    "event": "negotiation_failed",
    "at": 2.25,
    "severity": "warning",
    "text": "branch-8#1: our attempt failed: the peer accepts none of our IKE proposals; cause: " + "word " * 20,
    "connection": "branch-8",
}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[str, Gateway]]:
    with serving(tmp_path / "s") as found:
        found.feed += [FAILED]
        yield str(tmp_path / "s"), found


def test_events_are_sentences_with_a_time(gateway: tuple[str, Gateway]) -> None:
    run = Run("--control", gateway[0], "events", "--no-follow", width=80)
    first, second, *rest = run.out.splitlines()
    assert first.endswith(":01.500  branch-7#3 established with fqdn:sun.example.org")
    assert ":02.250  warning: branch-8#1: our attempt failed" in second
    assert rest and all(len(text) <= 80 and text.startswith(" " * 15) for text in rest)


def test_json_is_a_line_each_as_the_daemon_says(gateway: tuple[str, Gateway]) -> None:
    run = Run("--control", gateway[0], "events", "--idle", "0.5", "--json", "-c", "branch-8")
    assert [json.loads(text) for text in run.out.splitlines()] == [FAILED]


def test_filters_are_the_daemons_business(gateway: tuple[str, Gateway]) -> None:
    sock, daemon = gateway
    Run(
        "--control",
        sock,
        "events",
        "-c",
        "b*",
        "-k",
        "ike",
        "-k",
        "path_probed",
        "-s",
        "debug",
        "-n",
        "7",
        "--no-follow",
    )
    kinds = {event_name(kind) for kind in GROUPS["ike"]} | {"path_probed"}
    wanted = EventSelection(connections=("b*",), kinds=frozenset(kinds), severity="debug", last=7, follow=False)
    assert daemon.followed == wanted
    Run("--control", sock, "events", "--no-follow")
    assert daemon.followed == EventSelection(severity="info", follow=False)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-k", "ike_sa_establish"), "did you mean 'ike_sa_established'?"),
        (("-k", "fail"), "did you mean 'failure'?"),
        (("-s", "warn"), "did you mean 'warning'?"),
        (("-n", "1001"), "less than or equal to 1000"),
    ],
)
def test_wrong_words_are_2_with_the_right_ones(
    gateway: tuple[str, Gateway], options: tuple[str, ...], told: str
) -> None:
    run = Run("--control", gateway[0], "events", *options, width=200)
    assert run.code == 2 and told in run.err, run.err


def test_the_last_word_of_the_daemon_is_shown() -> None:
    assert str(line({"event": "closing", "reason": "the daemon is stopping"}, 80)).endswith("the daemon is stopping")
