"""Changes of DF, oversize and MSS while packets flow both ways: a successor where the SA must change, and no loss."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.sim.test_rekey import Tunnel
from tests.sim.world import Node
from xfrmctl.ike.config import EngineConfig
from xfrmctl.model.events import ChildSaInstalled, ChildSaRekeyed, IkeSaClosed
from xfrmctl.model.sa import DfPolicy, Direction, Oversize


def changed(node: Node, **child: Any) -> EngineConfig:
    config = node.engine.config
    connections = {
        name: replace(c, children=tuple(replace(old, **child) for old in c.children))
        for name, c in config.connections.items()
    }
    return replace(config, connections=connections)


def reload(tunnel: Tunnel, node: Node, **child: Any) -> None:
    config = changed(node, **child)
    tunnel.world.do(node, lambda now: node.engine.reload(config, now))


def outbound(node: Node) -> list[DfPolicy]:
    """What the newest SA that goes out does with DF."""
    return [sa.df for sa, _ in node.sad.values() if sa.direction is Direction.OUT][-1:]


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_new_df_policy_comes_with_a_rekey_that_loses_no_packet(who: str) -> None:
    tunnel = Tunnel()
    node: Node = getattr(tunnel, who)
    tunnel.traffic(40)
    for policy in (DfPolicy.CLEAR, DfPolicy.COPY):
        reload(tunnel, node, df=policy)
        tunnel.world.run(15)
        assert outbound(node) == [policy]
    tunnel.world.run(15)
    assert tunnel.lost == []
    assert len(node.of(ChildSaRekeyed)) == 2
    assert not node.of(IkeSaClosed)
    tunnel.settled()


@pytest.mark.parametrize("change", [{"oversize": Oversize.FRAGMENT}, {"mss": 1200}, {"df": DfPolicy.SET}])
def test_what_no_sa_knows_touches_none(change: dict[str, Any]) -> None:
    tunnel = Tunnel()
    reload(tunnel, tunnel.alice, **change)
    tunnel.world.run(15)
    assert not tunnel.alice.of(ChildSaRekeyed)
    assert not tunnel.alice.of(IkeSaClosed)
    (found,) = [c for sa in tunnel.alice.engine.ike_sas() for c in sa.children]
    assert all(getattr(found.config, key) == value for key, value in change.items())


def test_any_other_change_makes_the_connection_anew() -> None:
    tunnel = Tunnel()
    reload(tunnel, tunnel.alice, df=DfPolicy.CLEAR, replay_window=256)
    tunnel.world.run(15)
    assert tunnel.alice.of(IkeSaClosed)
    assert outbound(tunnel.alice) == [DfPolicy.CLEAR]


def test_both_ends_at_once() -> None:
    tunnel = Tunnel()
    tunnel.traffic(25)
    for node in (tunnel.alice, tunnel.bob):
        reload(tunnel, node, df=DfPolicy.CLEAR)
    tunnel.world.run(30)
    assert outbound(tunnel.alice) == outbound(tunnel.bob) == [DfPolicy.CLEAR]
    assert tunnel.lost == []
    tunnel.settled()


def test_a_rekey_under_way_ends_in_the_new_policy() -> None:
    tunnel = Tunnel(latency_s=0.2)
    tunnel.soft_expiry(tunnel.alice)
    reload(tunnel, tunnel.alice, df=DfPolicy.CLEAR)
    tunnel.world.run(30)
    assert outbound(tunnel.alice) == [DfPolicy.CLEAR]
    assert len(tunnel.alice.of(ChildSaRekeyed)) == 1
    tunnel.settled()


@pytest.mark.parametrize(
    ("policy", "then"), [(DfPolicy.COPY, DfPolicy.CLEAR), (DfPolicy.SET, DfPolicy.SET)], ids=["copy", "set"]
)
def test_df_is_cleared_on_demand_and_comes_back(policy: DfPolicy, then: DfPolicy) -> None:
    tunnel = Tunnel(alice_child={"df": policy})
    alice, reqid = tunnel.alice, tunnel.alice.of(ChildSaInstalled)[0].reqid  # type: ignore[attr-defined]
    tunnel.traffic(40)

    def clear(*reqids: int) -> Callable[[float], None]:
        return lambda now: alice.engine.clear_df(frozenset(reqids), now)

    for reqids, wanted in (((reqid,), then), ((reqid,), then), ((), policy)):
        tunnel.world.do(alice, clear(*reqids))
        tunnel.world.run(12)
        assert outbound(alice) == [wanted]
    assert tunnel.lost == []
    assert len(alice.of(ChildSaRekeyed)) == (2 if policy is DfPolicy.COPY else 0)
    tunnel.settled()
