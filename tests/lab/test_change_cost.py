"""What one tunnel's change costs: as many messages and programs among many tunnels as among few. No times."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bench.crowd import Crowd
from tests.lab.kernel_gateway import inside
from xfrmctl.kernel.firewall.programs import run
from xfrmctl.kernel.netlink.socket import NetlinkSocket
from xfrmctl.lab.topology import Topology
from xfrmctl.model.firewall import FirewallBackend

pytestmark = pytest.mark.lab

FEW, MANY, DEVICES = 30, 400, 8
SETTLE_S = 0.3
"""Beyond every delay by which changes are collected."""


class Meter:
    """Everything that goes to the kernel, and every program that is started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        real = {name: getattr(NetlinkSocket, name) for name in ("transact", "commit", "get", "dump")}

        def transact(sock: Any, requests: Sequence[Any]) -> Any:
            self.counts["messages"] += len(requests)
            return real["transact"](sock, requests)

        def commit(sock: Any, begin: Any, requests: Sequence[Any], end: Any) -> Any:
            self.counts["transactions"] += 1
            self.counts["messages"] += len(requests)
            return real["commit"](sock, begin, requests, end)

        def get(sock: Any, request: Any) -> Any:
            self.counts["questions"] += 1
            return real["get"](sock, request)

        def dump(sock: Any, request: Any) -> Any:
            found = real["dump"](sock, request)
            self.counts["read"] += len(found)
            return found

        for name, call in (("transact", transact), ("commit", commit), ("get", get), ("dump", dump)):
            monkeypatch.setattr(NetlinkSocket, name, call)

        def counted(command: list[str], text: str = "") -> str:
            self.counts["programs"] += 1
            return run(command, text)

        monkeypatch.setattr("xfrmctl.kernel.firewall.iptables.run", counted)

    def read(self) -> dict[str, int]:
        """The counts since the last time."""
        found, self.counts = dict(self.counts), Counter()
        return found


STEPS: dict[str, Callable[[Crowd], None]] = {
    "a new MSS": lambda crowd: crowd.hear([DEVICES + 1], 1400),
    "an MSS in use": lambda crowd: crowd.hear([DEVICES + 2], 1400),
    "an interface's": lambda crowd: crowd.hear([1], 1380),
    "back to an MSS in use": lambda crowd: crowd.hear([DEVICES + 1], 1380),
    "ten at once": lambda crowd: crowd.hear(range(DEVICES + 3, DEVICES + 13), 1360),
}


async def _costs(count: int, firewall: FirewallBackend, meter: Meter) -> dict[str, dict[str, int]]:
    crowd = Crowd(count, firewall, devices=DEVICES)
    try:
        await crowd.start()
        await asyncio.sleep(SETTLE_S)
        found: dict[str, dict[str, int]] = {}
        for what, step in STEPS.items():
            meter.read()
            step(crowd)
            await crowd.applied()
            await asyncio.sleep(SETTLE_S)
            found[what] = meter.read()
        plan = await asyncio.to_thread(crowd.kernel.plan, crowd.reconciler.desired())
        assert plan.render() == "", "a full look finds what the changes should have done"
        assert _state(crowd) == {1400: 1, 1380: 2, 1360: 10}
        return found
    finally:
        await crowd.stop()


def _state(crowd: Crowd) -> dict[int, int]:
    """How many routes to peers have which MTU, of those that are not as at the beginning."""
    state = crowd.kernel.actual().state
    assert state.interfaces["xfc1"].mtu < state.interfaces["xfc2"].mtu
    return Counter(route.mtu for route in state.routes if route.mtu in (1400, 1380, 1360) and route.via is not None)


@pytest.mark.parametrize("firewall", [FirewallBackend.IPTABLES, FirewallBackend.NFTABLES], ids=lambda kind: kind.value)
def test_one_change_costs_the_same_among_many(
    topology: Topology, firewall: FirewallBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = Meter(monkeypatch)
    with inside(topology.ns("ga")):
        few, many = (asyncio.run(_costs(count, firewall, meter)) for count in (FEW, MANY))
    assert few == many
    for what, cost in many.items():
        assert cost.get("read", 0) == 0, (what, cost)
        assert cost.get("programs", 0) <= (2 if firewall is FirewallBackend.IPTABLES else 0), (what, cost)
        assert cost["messages"] <= (12 if what != "ten at once" else 100), (what, cost)
    assert many["an MSS in use"].get("programs", 0) == 0
