"""The guard's rules as text, and its BPF programs run by hand."""

import re
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.guard.icmp_errors import Error, esp
from xfrmctl.kernel.desired import Desired, IcmpGuard
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.kernel.firewall import guard
from xfrmctl.kernel.firewall.guard import Instruction, Standing, parse_save, programs, restore_text, rules, stands
from xfrmctl.kernel.ownership import ICMP_QUEUE
from xfrmctl.kernel.queue import queue_state
from xfrmctl.model.address import IPAddress
from xfrmctl.model.snapshot import QueueInfo

ONE: dict[int, IPAddress] = {4: ip_address("172.16.2.1"), 6: ip_address("fd16:2::1")}
BOTH = IcmpGuard(frozenset(ONE.values()))
NAME = {4: "172.16.1.1", 6: "fd16:1::1"}


def run(program: list[Instruction], packet: bytes) -> bool:
    """A classic BPF machine, of what the guard uses of it."""
    a = x = 0
    memory: dict[int, int] = {}
    at = 0
    while True:
        code, yes, no, k = program[at]
        at += 1
        if code in (0x20, 0x40):
            offset = k + (x if code == 0x40 else 0)
            if offset + 4 > len(packet):
                return False
            a = int.from_bytes(packet[offset : offset + 4], "big")
        elif code == 0x30:
            a = packet[k]
        elif code == 0xB1:
            x = 4 * (packet[k] & 15)
        elif code == 0x61:
            x = memory[k]
        elif code == 0x02:
            memory[k] = a
        elif code == 0x0C:
            a = (a + x) & 0xFFFFFFFF
        elif code == 0x24:
            a = a * k & 0xFFFFFFFF
        elif code == 0x06:
            return k > 0
        else:
            holds = {0x15: a == k, 0x25: a > k, 0x35: a >= k}[code]
            at += yes if holds else no


def matches(addresses: list[IPAddress], family: int, packet: bytes) -> bool:
    return any(run(p, packet) for p in programs(addresses, family))


@pytest.mark.parametrize("family", [4, 6])
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_who_is_quoted_is_found_and_nobody_else(family: int, data: st.DataObject) -> None:
    bits = 32 if family == 4 else 128
    values = data.draw(st.lists(st.integers(1, 2**bits - 1), min_size=1, max_size=120, unique=True))
    make = type(ONE[family])
    addresses: list[IPAddress] = [make(v) for v in values]
    asked = make(data.draw(st.one_of(st.sampled_from(values), st.integers(0, 2**bits - 1))))
    error = Error(NAME[family], str(asked), esp(1, 1), outer_options=bytes(8) if family == 4 else b"")
    assert matches(addresses, family, error.packet) == (asked in addresses)


@pytest.mark.parametrize("family", [4, 6])
def test_a_quote_that_is_cut_short_matches_nothing(family: int) -> None:
    packet = Error(NAME[family], str(ONE[family]), esp(1, 1)).packet
    assert matches([ONE[family]], family, packet)
    assert not matches([ONE[family]], family, packet[:43])


def test_every_word_and_program_is_as_long_as_is_taken() -> None:
    addresses = frozenset(ip_address(base) + 7 * n for base in ("250.0.0.0", "fd00::") for n in range(1000))
    for family in (4, 6):
        for line in rules(IcmpGuard(addresses), family):
            assert all(len(word) < 1024 for word in re.findall(r'"([^"]*)"', line))
        for program in programs(addresses_of(addresses, family), family):
            assert len(program) <= 64 and max(i[1] for i in program) < 256


def addresses_of(addresses: frozenset[IPAddress], family: int) -> list[IPAddress]:
    return [a for a in addresses if a.version == family]


def test_rules() -> None:
    judged = rules(BOTH, 4)
    assert judged[-2:] == [
        "XFRMCTL-JUDGE -m limit --limit 100/sec --limit-burst 100 -j NFQUEUE --queue-num 22598",
        "XFRMCTL-JUDGE -j DROP",
    ]
    assert "bypass" not in " ".join(judged)
    ignored = rules(IcmpGuard(ignored=BOTH.judged), 6)
    assert all(line.endswith("-j DROP") for line in ignored) and len(ignored) == 2
    assert rules(IcmpGuard(frozenset([ONE[4]])), 6) == []


def saved(text: str) -> str:
    """What iptables-save would show of a restore into an empty table, with the operator's rules before and after."""
    chains = [line for line in text.splitlines() if line.startswith(":")]
    inserted = [line.replace("-I ", "-A ", 1) for line in text.splitlines() if line.startswith("-I ")]
    appended = [line for line in text.splitlines() if line.startswith("-A ")]
    return "\n".join(["*mangle", ":INPUT ACCEPT [0:0]", *chains, *inserted, *appended, "COMMIT", ""])


def test_what_stands_is_told_from_what_is_damaged() -> None:
    assert stands(IcmpGuard(), 4, Standing()) and not stands(BOTH, 4, Standing())
    for family in (4, 6):
        text = saved(restore_text(BOTH, family, Standing()))
        have = parse_save(text)
        assert stands(BOTH, family, have) and restore_text(BOTH, family, have) == ""
        assert not stands(IcmpGuard(), family, have)
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if line.startswith("-A "):
                damaged = parse_save("\n".join(lines[:number] + lines[number + 1 :]))
                assert not stands(BOTH, family, damaged), line
        shadowed = text.replace("-A INPUT", "-A INPUT -p icmp -j ACCEPT\n-A INPUT", 1)
        assert not stands(BOTH, family, parse_save(shadowed))
        clamp = text.replace("-A INPUT", "-A INPUT -p tcp -j XFRMCTL-MSS\n-A INPUT", 1)
        assert stands(BOTH, family, parse_save(clamp)), "our own clamp may stand before it"
        removal = guard.remove_text(have)
        assert "-D INPUT" in removal and "-X XFRMCTL-JUDGE" in removal
    assert guard.remove_text(Standing()) == ""


def test_a_plan_sets_the_guard_and_takes_it_away() -> None:
    kernel = FakeKernel()
    wanted = "~ icmp guard: 2 peers judged, 0 ignored (was 0 peers judged, 0 ignored)"
    assert kernel.plan(Desired(icmp=BOTH)).render() == wanted
    kernel.converge(Desired(icmp=BOTH))
    assert "icmp guard: 2 peers judged, 0 ignored" in kernel.render() and not kernel.plan(Desired(icmp=BOTH))
    kernel.icmp = None
    assert "damaged" in kernel.plan(Desired(icmp=BOTH)).render()
    kernel.converge(Desired())
    assert "guard" not in kernel.render()


def test_what_the_kernel_counts_of_the_queue(tmp_path: Path) -> None:
    """The columns are those of ``seq_show`` in net/netfilter/nfnetlink_queue.c."""
    file = tmp_path / "nfnetlink_queue"
    ours = f"{ICMP_QUEUE:5}   4242     3 2 65531     7     1      912  1\n"
    file.write_text("    0   1111     9 2 65531     9     9        9  1\n" + ours)
    assert queue_state(file) == QueueInfo(waiting=3, dropped_full=7, dropped_copy=1, seen=912)
    file.write_text("    0   1111     9 2 65531     9     9        9  1\n")
    assert queue_state(file) is None
    assert queue_state(tmp_path / "no such module") is None
