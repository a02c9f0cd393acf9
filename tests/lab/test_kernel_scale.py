"""A thousand tunnels: the times are printed, not asserted; that all is there, and that it is one rule, is asserted."""

import time
from collections.abc import Callable
from ipaddress import ip_network
from typing import TypeVar

import pytest

from tests.lab.kernel_gateway import GCM, PRIORITY, gateways, inside, keys_of
from xfrmctl.kernel.desired import Action, Clamp, Desired, Policy, PolicyKey, Template
from xfrmctl.kernel.ownership import reqid_for
from xfrmctl.lab.topology import Topology
from xfrmctl.model.sa import Direction, KernelSa

pytestmark = [pytest.mark.lab, pytest.mark.slow]

TUNNELS = 1000


T = TypeVar("T")


def timed(what: str, count: int, call: Callable[[], T]) -> T:
    started = time.monotonic()
    result = call()
    spent = time.monotonic() - started
    print(f"  {what}: {spent:.3f} s, {spent / count * 1e6:.0f} us each of {count}")
    return result


def test_a_thousand_tunnels(topology: Topology, capsys: pytest.CaptureFixture[str]) -> None:
    with gateways(topology) as (ga, _), inside(ga.ns), capsys.disabled():
        print()
        policies: dict[PolicyKey, Policy] = {}
        clamps: set[Clamp] = set()
        for number in range(1, TUNNELS + 1):
            mine = ip_network((0x0A010000 + 256 * 0, 24))
            theirs = ip_network((0x0B000000 + 256 * number, 24))
            for direction in Direction:
                out = direction is Direction.OUT
                key = PolicyKey(direction, mine if out else theirs, theirs if out else mine)
                ends = (ga.local, ga.remote) if out else (ga.remote, ga.local)
                policies[key] = Policy(key, Action.ALLOW, PRIORITY, Template(*ends, reqid_for(number)))
            clamps.add(Clamp(mine, theirs, 1400 + number % 3))
        desired = Desired(policies, clamps=frozenset(clamps))
        only_policies = Desired(policies)
        sas = [
            (
                KernelSa(
                    direction=Direction.OUT,
                    source=ga.local,
                    destination=ga.remote,
                    spi=0x10000 + number,
                    reqid=reqid_for(number),
                    suite=GCM,
                ),
                keys_of(GCM),
            )
            for number in range(1, TUNNELS + 1)
        ]
        kernel = ga.kernel
        assert not timed("put policies", 3 * TUNNELS, lambda: kernel.converge(only_policies)).problems
        assert not timed("put clamps", TUNNELS, lambda: kernel.converge(desired)).problems
        assert not timed("converge, nothing to do", 3 * TUNNELS, lambda: kernel.converge(desired)).applied
        timed("install SAs, one batch", TUNNELS, lambda: kernel.install(sas))
        kernel.delete([sa.id for sa, _ in sas])

        def by_twos() -> None:
            for start in range(0, TUNNELS, 2):
                kernel.install(sas[start : start + 2])

        timed("install SAs, two a batch", TUNNELS, by_twos)
        assert len(timed("dump SAs", TUNNELS, kernel.dump)) == TUNNELS
        one = next(iter(policies.values()))
        blocked = Policy(one.key, Action.BLOCK, PRIORITY)
        before, after = Desired({one.key: one}), Desired({one.key: blocked})
        assert not timed("change one policy", 1, lambda: kernel.change(before, after)).problems
        assert not kernel.change(after, before).problems
        pair = next(iter(clamps))
        moved = Clamp(pair.local, pair.remote, 1390)
        before, after = Desired(clamps=frozenset({pair})), Desired(clamps=frozenset({moved}))
        assert not timed("move one clamp", 1, lambda: kernel.change(before, after)).problems
        infos = timed("read clamp counters", 1, kernel.clamp_counters)
        assert {(i.mss, i.pairs > 300 or i.mss == 1390) for i in infos} == {(m, True) for m in (1390, 1400, 1401, 1402)}
        report = timed("cleanup", 4 * TUNNELS, kernel.cleanup)
        assert report.problems == () and report.removed["policies"] == 3 * TUNNELS and report.removed["sas"] == TUNNELS
