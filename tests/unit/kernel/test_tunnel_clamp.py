"""The clamp of TCP through tunnel devices: a rule for each of their groups, and a number where the MTU is too large."""

from collections.abc import Sequence

import pytest

from xfrmctl.kernel.firewall import tunnels
from xfrmctl.kernel.firewall.programs import FirewallError
from xfrmctl.kernel.firewall.tunnels import TunnelClamp, table_text
from xfrmctl.kernel.ownership import tunnel_group

WIDE, NARROW = tunnel_group(clamped=True), tunnel_group(clamped=True, narrow=1242)
BOTH = frozenset((WIDE, NARROW))


class Nft:
    """In place of nft: lists what it was given last. ``made`` is how often that was."""

    def __init__(self) -> None:
        self.table, self.made, self.broken = "", 0, False

    def __call__(self, argv: Sequence[str], text: str = "") -> str:
        if self.broken:
            raise FirewallError("nft: no")
        if argv[1:] == ["-f", "-"]:
            self.table, self.made = text, self.made + 1
            return ""
        return f"table {tunnels.TABLE}" if "tables" in argv and self.table else self.table


@pytest.fixture
def nft(monkeypatch: pytest.MonkeyPatch) -> Nft:
    fake = Nft()
    monkeypatch.setattr(tunnels, "run", fake)
    return fake


def test_one_pair_of_rules_for_all_devices_that_have_room() -> None:
    rules = [line for line in table_text([WIDE]).splitlines() if " forward " in line and "add rule" in line]
    assert [rule.split()[5:7] for rule in rules] == [["oifgroup", "0x58000001"], ["iifgroup", "0x58000001"]]
    assert all(rule.endswith("jump clamp") for rule in rules) and "narrow" not in table_text([WIDE])


def test_ipv6_gets_a_number_where_the_device_is_larger_than_what_fits() -> None:
    text = table_text(BOTH)
    assert "narrow-1242 meta nfproto ipv6 tcp option maxseg size set 1182\n" in text
    assert f"oifgroup {NARROW:#x} tcp flags & (syn | rst) == syn jump narrow-1242\n" in text
    assert text.index("chain inet xfrmctl-tunnels narrow-1242") < text.index("jump narrow-1242"), "nft wants it first"


def test_the_table_is_made_anew_only_for_other_groups_or_when_somebody_changed_it(nft: Nft) -> None:
    clamp = TunnelClamp()
    assert clamp.stand(BOTH) == clamp.stand(BOTH) == clamp.add(frozenset((WIDE,))) == clamp.add(frozenset()) == []
    assert nft.made == 1
    nft.table += "add rule of somebody else\n"
    assert clamp.stand(BOTH) == [] and nft.made == 2 and "somebody" not in nft.table
    assert clamp.stand(frozenset((WIDE,))) == [] and "narrow" not in nft.table, "what nobody needs goes"
    assert clamp.add(frozenset((NARROW,))) == [] and "narrow-1242" in nft.table and f"{WIDE:#x}" in nft.table


def test_what_nft_refuses_is_told_and_tried_again(nft: Nft) -> None:
    clamp = TunnelClamp()
    nft.broken = True
    for problems in (clamp.stand(BOTH), clamp.add(BOTH)):
        assert problems == ["TCP through tunnel devices is not clamped, for which nft is needed: nft: no"]
    nft.broken = False
    assert clamp.add(BOTH) == [] and nft.made == 1
