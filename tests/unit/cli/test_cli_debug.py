"""``xfrmctl debug`` as a user runs it: it asks, follows, and takes its question back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.test_cli import Run
from tests.unit.control.gateway_values import ESTABLISHED, Gateway, serving

STORY: list[dict[str, Any]] = [
    {
        "event": "message_received",
        "at": 1.0,
        "severity": "info",
        "text": "branch-7#3 < 172.16.2.1:500 IKE_SA_INIT response 0: SA, KE, No (440 bytes)",
        "connection": "branch-7",
    },
    {
        "event": "payloads_told",
        "at": 1.0,
        "severity": "info",
        "text": "…",
        "connection": "branch-7",
        "lines": ["SA proposal 1: IKE aes256gcm16-prfsha384-x25519", "KE X25519: a public value of 32 bytes"],
    },
    {
        "event": "decision_told",
        "at": 1.0,
        "severity": "info",
        "text": "…",
        "connection": "branch-7",
        "decision": "the peer has chosen aes256gcm16-prfsha384-x25519 from our proposals",
    },
    {"event": "path_probed", "at": 1.0, "severity": "debug", "text": "noise", "connection": "branch-7"},
    {**ESTABLISHED, "connection": "branch-8"},
]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[str, Gateway]]:
    with serving(tmp_path / "s") as found:
        found.feed = STORY
        yield str(tmp_path / "s"), found


def test_the_story_is_followed_for_its_time_and_ended(gateway: tuple[str, Gateway]) -> None:
    run = Run("--control", gateway[0], "debug", "branch-7", "--for", "500ms", width=100)
    assert run.code == 0
    head, message, sa, ke, decision = run.out.splitlines()
    assert head == "the story of branch-7 for 0.5 s; ^C ends it"
    assert message.endswith(":01.000  branch-7#3 < 172.16.2.1:500 IKE_SA_INIT response 0: SA, KE, No (440 bytes)")
    assert sa == " " * 17 + STORY[1]["lines"][0] and ke.strip().startswith("KE X25519")
    assert decision.endswith("  = the peer has chosen aes256gcm16-prfsha384-x25519 from our proposals")
    assert gateway[1].asked == [("debug", "branch-7", 0.5, False), ("debug", "branch-7", 0.0, False)]
    assert gateway[1].followed.severity == "debug"


def test_json_has_every_event(gateway: tuple[str, Gateway]) -> None:
    run = Run("--control", gateway[0], "debug", "branch-7", "--for", "500ms", "--json")
    assert [json.loads(text) for text in run.out.splitlines()] == STORY[:4]


def test_detached_and_off(gateway: tuple[str, Gateway]) -> None:
    assert (
        Run("--control", gateway[0], "debug", "branch-7", "--for", "2h", "--detach", "--keys").out
        == "branch-7: debugged\n"
    )
    assert json.loads(Run("--control", gateway[0], "debug", "branch-7", "--off", "--json").out)["ok"] is True
    assert gateway[1].asked == [("debug", "branch-7", 7200.0, True), ("debug", "branch-7", 0.0, False)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("brunch-7",), "did you mean 'branch-7'"),
        (("branch-7", "--for", "60"), "write 60s, 60m"),
        (("branch-7", "--for", "2d"), "0 to 86400 seconds"),
        (("branch-7", "--for", "0s"), "no time at all"),
    ],
)
def test_mistakes(gateway: tuple[str, Gateway], options: tuple[str, ...], told: str) -> None:
    run = Run("--control", gateway[0], "debug", *options, width=200)
    assert run.code == 2 and told in run.err, run.err
