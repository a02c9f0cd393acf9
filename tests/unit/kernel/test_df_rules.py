"""Rules about DF: as text for nft, in plans, and in the union of what children want."""

import re
from ipaddress import ip_address
from pathlib import Path

import pytest

from xfrmctl.daemon.union import Union
from xfrmctl.kernel.desired import Actual, ClearDf, Desired, DfRule, SetDf
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.kernel.firewall.df import DfTable, remove_text, table_text
from xfrmctl.kernel.plan import diff

PEER, OTHER = SetDf(ip_address("192.0.2.7")), SetDf(ip_address("192.0.2.3"))
ONE, TWO = ClearDf("xfc-1", 1346), ClearDf("xfc-2", 1400)


def test_without_rules_there_is_no_table() -> None:
    assert table_text([], 4500) == remove_text()


def test_each_half_of_the_table_stands_only_where_it_is_wanted() -> None:
    clear, set_ = table_text([ONE], 4500), table_text([PEER], 4501)
    assert "prerouting" in clear and "postrouting" not in clear
    assert "postrouting" in set_ and "prerouting" not in set_
    assert "udp sport 4501" in set_


def test_what_fits_every_tunnel_meets_one_comparison_first() -> None:
    lines = [line for line in table_text([ONE, TWO, PEER], 4500).splitlines() if " ip xfrmctl-df prerouting " in line]
    assert lines[1].endswith("ip length <= 1346 accept")
    assert "fib" in lines[-1] and '"xfc-1" : jump over-1346, "xfc-2" : jump over-1400' in lines[-1]


def test_of_two_sizes_of_a_device_the_smaller_one_counts() -> None:
    text = table_text([ClearDf("xfc-1", 1400), ClearDf("xfc-1", 1300)], 4500)
    assert "over-1300" in text and "over-1400" not in text


def test_no_number_of_its_own_no_fragment_for_tcp_and_ah() -> None:
    text = table_text([ONE], 4500)
    keeps, gets = [line for line in text.splitlines() if "frag-off set 0" in line]
    assert "ip protocol { tcp, ah } ip id != 0" in keeps and "ip id set" not in keeps
    assert "ip protocol != { tcp, ah }" in gets and "ip id set numgen random" in gets


def some(*rules: DfRule) -> frozenset[DfRule]:
    return frozenset(rules)


def rules(*some: DfRule) -> Desired:
    return Desired(df=frozenset(some))


def test_a_plan_changes_what_differs_and_nothing_is_planned_where_nothing_does() -> None:
    kernel = FakeKernel()
    kernel.converge(rules(ONE, PEER))
    assert kernel.df == some(ONE, PEER)
    plan = kernel.plan(rules(TWO, PEER))
    assert plan.render() == f"+ df {TWO}\n- df {ONE}"
    kernel.change(rules(ONE), rules(TWO))
    assert kernel.df == some(TWO, PEER)
    assert not kernel.plan(rules(TWO, PEER))
    afresh = diff(Actual(Desired(df=None)), rules(ONE)).render()
    assert "damaged" in afresh and f"+ df {ONE}" in afresh


def test_parts_that_want_the_same_rule_keep_it_until_the_last_goes() -> None:
    union = Union({1: rules(PEER, ONE), 2: rules(PEER, TWO)})
    assert union.whole().df == some(PEER, ONE, TWO)
    before, after = union.replace({1: None})
    assert (before.df, after.df) == (some(PEER, ONE), some(PEER))
    assert union.whole().df == some(PEER, TWO)


NFT = """#!/bin/sh
case "$1" in
-f) cat > {0}; grep -q prerouting {0} || : > {0} ;;
*) case "$*" in *tables*) [ -s {0} ] && echo "table ip xfrmctl-df" ;; *) grep -v delete {0} ;; esac ;;
esac
true
"""


def test_a_table_that_another_has_changed_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    (tmp_path / "nft").write_text(NFT.format(store))
    (tmp_path / "nft").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    store.touch()
    table = DfTable()
    assert table.standing() == some()
    table.change(some(ONE), some(), afresh=False)
    assert table.standing() == some(ONE)
    store.write_text(store.read_text().replace("counter", "counter packets 7 bytes 99"))
    assert table.standing() == some(ONE), "counters count"
    assert table.counters() == {"cleared": 14, "set": 0}
    store.write_text(re.sub("1346 accept", "1347 accept", store.read_text()))
    assert not table.disturbances
    assert table.standing() is None
    assert "another program" in table.disturbances[0]
    table.change(some(ONE), some(), afresh=True)
    assert table.standing() == some(ONE)
    table.change(some(), some(ONE), afresh=False)
    assert table.standing() == some()
    assert table.remove() == (0, [])
