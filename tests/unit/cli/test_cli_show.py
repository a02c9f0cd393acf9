"""``xfrmctl show`` as a user runs it: what it says, on which terminal, and what it asks the daemon for."""

import json
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.unit.cli.test_cli import Run
from tests.unit.control.gateway_values import CHILD, DOWN, IKE, SNAPSHOT, UP, Gateway, configured, serving
from xfrmctl.cli import brief
from xfrmctl.model.selection import EVERYTHING, Selection
from xfrmctl.model.snapshot import Snapshot


class Many(Gateway):
    """Two hundred connections with one child each."""

    def __init__(self, count: int = 200) -> None:
        super().__init__()
        self.count = count

    async def snapshot(self, wanted: Selection = EVERYTHING) -> Snapshot:
        self.wanted = wanted
        connections = []
        for number in range(self.count):
            child = replace(CHILD, inbound=replace(CHILD.inbound, spi=f"{0xC0000000 + number:#x}"))
            ike = replace(IKE, name=f"b{number}#1", children=[child])
            connections.append(replace(UP, name=f"b{number}", ike_sas=[ike]))
        return replace(SNAPSHOT, connections=connections, configured=self.count)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[str, Gateway]]:
    with serving(tmp_path / "s") as found:
        yield str(tmp_path / "s"), found


def flat(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("width", [60, 80, 120, 140, 160, 200])
def test_all_of_an_sa_is_there_on_any_terminal(gateway: tuple[str, Gateway], width: int) -> None:
    out = Run("--control", gateway[0], "show", width=width).out
    assert max(map(len, out.splitlines())) <= width
    for word in (
        "asking whether the peer lives",
        "INFORMATIONAL request 6 (empty): copy 2 of 8 sent 0.5 s ago, again in 1.3 s; 1 conversation waits",
        "0102030405060708",
        "3 late, 2 replayed, 1 forged" if width < 156 else "3 late, 2",
        "ends in 3600 s / 4998500 kB" if width < 156 else "4998500 kB",
        "settled, confirmed; carrier udp 4500, as esp; route takes 1500; peer says 1400; looked at again in 8 min",
        "probe, 75 s" if width < 156 else "75",
        "copy",
        "2 IKE SAs made, 4 rekeys of it, 3 rekeys of children, 1 failure, 5 retransmissions",
    ):
        assert word in flat(out), (word, out)


def test_an_ordinary_terminal_shows_the_rest(gateway: tuple[str, Gateway]) -> None:
    out = flat(Run("--control", gateway[0], "show").out)
    assert "we are fqdn:moon.example.org (psk), the peer is fqdn:sun.example.org (psk)" in out
    assert "new keys in 2 h 58 min; heard 4 s ago, asked in 26 s unless heard before; answers take 12 ms" in out
    assert "CHILD SA lan: installed, 12 s old, rekeyed 3 times" in out and "oversize icmp" in out


def test_filters_are_the_daemons_business(gateway: tuple[str, Gateway]) -> None:
    sock, daemon = gateway
    options = (
        "--child lan --child x* --state not-up --peer *.org --address 192.0.2.0/24 --carries 10.1.2.10 --spi 0xc0FFee01"
    )
    Run("--control", sock, "show", "branch-*", *options.split())
    assert daemon.wanted == Selection(
        connections=("branch-*",),
        children=("lan", "x*"),
        states=("not-up",),
        peers=("*.org",),
        addresses=(ip_network("192.0.2.0/24"),),
        carries=(ip_address("10.1.2.10"),),
        spis=(0xC0FFEE01,),
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--state", "establish"), "did you mean 'established'? known: up"),
        (("--state", "wait"), "did you mean 'waiting'?"),
        (("--address", "moon"), "'moon' is no address"),
        (("--carries", "10.1.0.0/16"), "'10.1.0.0/16' is no carries"),
        (("--spi", "xyz"), "as `xfrmctl show` and tcpdump do"),
        (("--child", ""), "child is empty"),
    ],
)
def test_wrong_filters_are_2_with_a_cure(gateway: tuple[str, Gateway], options: tuple[str, ...], told: str) -> None:
    run = Run("--control", gateway[0], "show", *options)
    assert run.code == 2 and told in run.err.replace("\n  cure", "; cure"), run.err


def test_what_matches_nothing_is_1(gateway: tuple[str, Gateway]) -> None:
    run = Run("--control", gateway[0], "show", "x*")
    assert run.code == 1 and "nothing matches" in run.out and "0 of 2 connections shown" in run.out
    assert Run("--control", gateway[0], "show", "x*", "--json").code == 1
    assert Run("--control", gateway[0], "show", "branch-*").code == 0


def test_several_names_are_the_gateway_with_these(gateway: tuple[str, Gateway]) -> None:
    run = Run("--control", gateway[0], "show", "branch-7", "branch-8", "--json")
    assert run.code == 0 and [c["name"] for c in json.loads(run.out)["connections"]] == ["branch-7", "branch-8"]


def test_brief_has_a_line_for_each_child(gateway: tuple[str, Gateway]) -> None:
    titles, up, down = Run("--control", gateway[0], "show", "-b", width=80).out.splitlines()[-3:]
    assert titles.split() == ["child", "state", "peer", "in", "out", "drops", "MTU", "MSS", "age"]
    assert up.split() == ["branch-7/lan", "up", "172.16.2.1", "1.5", "MB", "900", "B", "6", "1338", "1298", "12", "s"]
    assert down.split() == ["branch-8/office", "down", "172.16.3.1"]
    wide = Run("--control", gateway[0], "show", "--brief", width=160).out
    assert "0xc0000001" in wide and "aes256gcm16-noesn" in wide and "fqdn:sun.example.org" in wide


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 160, 240])
def test_brief_keeps_to_the_terminal(width: int) -> None:
    long = replace(IKE, remote="[2001:db8:1234:5678:9abc:def0:1234:5678]:4500")
    lines = list(brief.brief([replace(UP, name="b" * 40, ike_sas=[long]), DOWN], width))
    assert len(lines) == 3 and max(map(len, lines)) <= max(width, 44)
    assert "1.5 MB" in lines[1]


def test_what_a_filter_has_left_out_is_not_called_down() -> None:
    connection = replace(UP, ike_sas=[], children=[configured("lan", "up")])
    assert len(list(brief.brief([connection], 80))) == 1


def test_many_children_are_brief_unless_told_otherwise(tmp_path: Path) -> None:
    daemon = Many()
    with serving(tmp_path / "s", daemon):
        out = Run("--control", str(tmp_path / "s"), "show").out
        assert len(out.splitlines()) < 210 and "200 children, one line each" in out and "b199/lan" in out
        whole = json.loads(Run("--control", str(tmp_path / "s"), "show", "--json").out)
        assert len(whole["connections"]) == 200 and whole["kernel"]["states"] == 2
        daemon.count = 60
        full = Run("--control", str(tmp_path / "s"), "show", "--full").out
        assert full.count("CHILD SA lan") == 60


def test_watch_looks_again(gateway: tuple[str, Gateway]) -> None:
    run = Run("--control", gateway[0], "show", "--brief", "--watch", "0.1", "--times", "3")
    assert run.code == 0 and run.out.count("branch-7/lan") == 3
    run = Run("--control", gateway[0], "show", "branch-8", "--watch", "0.1", "--times", "2", "--json")
    assert run.code == 0 and [json.loads(line)["state"] for line in run.out.splitlines()] == ["waiting"] * 2
