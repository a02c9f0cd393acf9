"""The fuzzing campaign in short, and that it finds what is there to be found."""

from itertools import chain, count, repeat
from pathlib import Path

import pytest

from tests.fuzz.campaign import SLOW_S, Campaign, Input, Way
from xfrmctl.ike import inbox

STEPS = 3000


@pytest.mark.rfc("7296", "4")
def test_the_responder_survives(tmp_path: Path) -> None:
    """Nothing breaks, nothing is left in the kernel. Slow steps are reported: a busy machine makes some of its own."""
    said: list[str] = []
    campaign = Campaign(tmp_path, seed=7296, said=said.append)
    campaign.run(0, steps=STEPS)
    assert campaign.findings.keys() <= {"slow"}, said
    assert campaign.steps == STEPS
    assert all(n > STEPS / 20 for n in campaign.by_way.values()), campaign.by_way
    assert len(campaign.seen) > 40, "reactions of many kinds, or the damage does not get in"
    assert "slowest step" in campaign.progress()


def test_what_was_found_before_is_where_the_next_campaign_begins(tmp_path: Path) -> None:
    first = Campaign(tmp_path, seed=1)
    fresh = len(first.corpus)
    first.run(0, steps=200)
    assert len(first.corpus) > fresh
    second = Campaign(tmp_path, seed=2)
    assert second.resumed == len(first.corpus) - fresh
    assert set(first.corpus[fresh:]) <= set(second.corpus)


def test_a_crash_is_kept_with_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = Campaign(tmp_path, said=lambda line: None)
    monkeypatch.setattr(inbox, "parse", lambda data: 1 // 0)
    item = Input(Way.RAW, b"\0whatever")
    campaign.step(item)
    assert campaign.findings == {"crashes": 1}
    assert Input.decode((tmp_path / "crashes" / item.name).read_bytes()) == item
    assert "ZeroDivisionError" in (tmp_path / "crashes" / f"{item.name}.txt").read_text()


def test_a_slow_step_is_kept_with_its_input(tmp_path: Path) -> None:
    ticks = count(0, SLOW_S * 1.5)
    campaign = Campaign(tmp_path, clock=lambda: next(ticks), said=lambda line: None)
    item = Input(Way.RAW, b"\0whatever")
    campaign.step(item)
    assert campaign.findings == {"slow": 1}
    assert campaign.slowest_s == pytest.approx(SLOW_S * 1.5)
    assert (tmp_path / "slow" / item.name).exists()


def test_the_machine_s_own_hiccup_is_no_finding(tmp_path: Path) -> None:
    ticks = chain((0.0, SLOW_S * 1.5), repeat(2.0))
    campaign = Campaign(tmp_path, clock=lambda: next(ticks), said=lambda line: None)
    campaign.step(Input(Way.RAW, b"\0whatever"))
    assert not campaign.findings
    assert campaign.slowest_s == 0
    assert "1 slow only once, up to 15.0 ms" in campaign.progress()


def test_sas_that_nobody_answers_for_are_found(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, said=lambda line: None)
    target = campaign.targets[0]
    target.established()
    for other in campaign.targets:
        other.established()
        for sa in other.bob.engine.ike_sas():
            sa.children.clear()
    campaign.step(Input(Way.SEALED, bytes((37, 0))))
    assert campaign.findings == {"stray": 1}
