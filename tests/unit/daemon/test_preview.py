"""``plan``: what is told before a reload is what the reload then does, to SAs and to the kernel; and its words."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from tests.sim.test_path_mtu import Paths
from tests.sim.world import Node
from xfrmctl.config.load import Configuration, loads
from xfrmctl.control.schema import PlanResult
from xfrmctl.daemon import routes
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.preview import Step, reloaded
from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.model.events import ChildSaInstalled, ChildSaRekeyed, IkeSaClosed

HERE, THERE, BRANCH = "172.16.1.1", "172.16.2.1", "172.16.3.1"
FILE = """\
gateway: {limits: {half_open: 50}}
policies: {printers: {action: bypass, local_ts: 10.1.1.0/24, remote_ts: 10.9.0.0/24}}
connections:
  one:
    local: {address: 172.16.1.1}
    remote: {address: 172.16.2.1}
    auth: {psk: first secret of the two}
    ike: {dpd: off}
    children:
      lan: {local_ts: 10.1.1.0/24, remote_ts: 10.1.2.0/24, start: start}
      voice: {local_ts: 10.1.3.0/24, remote_ts: 10.1.4.0/24, start: start, dataplane: interface}
  two:
    local: {address: 172.16.1.1}
    remote: {address: 172.16.3.1}
    auth: {psk: second secret of the two}
    ike: {dpd: off}
    children: {lan: {local_ts: 10.1.1.0/24, remote_ts: 10.3.0.0/24, start: start}}
"""


def read(text: str, previous: Configuration | None = None) -> Configuration:
    return loads(text, Path("/etc/xfrmctl/xfrmctl.yaml"), previous)


def mirrored(connection: str, address: str) -> Configuration:
    """The other end of one connection."""
    found = read(FILE)
    near = found.engine.connections[connection]
    children = tuple(
        replace(c, local_ts=c.remote_ts, remote_ts=c.local_ts, start=type(c.start).NONE) for c in near.children
    )
    assert near.remote_id is not None
    far = replace(
        near, local=near.remote, remote=near.local, local_id=near.remote_id, remote_id=near.local_id, children=children
    )
    return replace(found, engine=replace(found.engine, connections={connection: far}))


@dataclass
class Gateway:
    """A gateway that has two peers, all three children up, and what stands in its kernel."""

    world: Paths
    node: Node
    kernel: FakeKernel
    reconciler: Reconciler
    configuration: Configuration

    def step(self, text: str) -> Step:
        newer = read(text, self.configuration)
        return Step(self.node.engine, self.configuration, self.configuration, newer, newer.engine)

    def plan(self, text: str) -> PlanResult:
        step = self.step(text)
        desired = self.reconciler.planned(step.resolved, step.newer.gateway.policies)
        return step.result(self.kernel.plan(desired).render().splitlines())

    def reload(self, text: str) -> None:
        """As ``Daemon.reload``."""
        step = self.step(text)
        self.reconciler.entries = step.newer.gateway.policies
        self.world.do(self.node, partial(self.node.engine.reload, step.resolved))
        asyncio.run(self.reconciler.everything())

    def closed(self) -> set[str]:
        return {event.connection for event in self.node.of(IkeSaClosed) if isinstance(event, IkeSaClosed)}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr(routes, "outer_mtu", lambda local, remote: 1500)
    world, configuration = Paths(), read(FILE)
    near = world.add("near", HERE, *configuration.engine.connections.values())
    for name, address in (("one", THERE), ("two", BRANCH)):
        world.keep(world.add(name, address, *mirrored(name, address).engine.connections.values()), probe=False)
    world.keep(near, probe=False)
    kernel = world.keepers["near"].underlays.kernel
    assert isinstance(kernel, FakeKernel)
    reconciler = Reconciler(near.engine, kernel, Bus(), world.keepers["near"], configuration.gateway.policies)
    world.do(near, near.engine.start_all)
    world.run(2)
    keeper = world.keepers["near"]
    world.do(near, lambda now: keeper.look_at_routes(keeper.next_look(), now))
    asyncio.run(reconciler.everything())
    assert len(near.of(ChildSaInstalled)) == 3
    yield Gateway(world, near, kernel, reconciler, configuration)


CHANGES = {
    "nothing": ("half_open: 50", "half_open: 50", {}),
    "limits": ("half_open: 50", "half_open: 60", {}),
    "policy": ("10.9.0.0/24", "10.8.0.0/24", {}),
    "policy that discards": ("bypass, local_ts: 10.1.1.0/24", "discard, local_ts: 10.1.0.0/16", {}),
    "bypass gone": (FILE.splitlines()[1] + "\n", "", {}),
    "window": (
        "10.1.2.0/24, start",
        "10.1.2.0/24, replay_window: 1024, start",
        {"one": ("change", "anew", ["lan", "voice"])},
    ),
    "mss": ("10.1.2.0/24, start", "10.1.2.0/24, mss: 1300, start", {"one": ("change", "none", [])}),
    "df": ("10.1.2.0/24, start", "10.1.2.0/24, df: clear, start", {"one": ("change", "rekey", [])}),
    "secret": ("first secret of the two", "another secret altogether", {"one": ("change", "anew", ["lan", "voice"])}),
    "path mtu": (
        "ike: {dpd: off}\n    children:\n",
        "path_mtu: {probe: false}\n    ike: {dpd: off}\n    children:\n",
        {"one": ("change", "none", [])},
    ),
    "selectors": ("10.3.0.0/24", "10.3.0.0/16", {"two": ("change", "anew", ["lan"])}),
    "new child": (
        "children: {lan: {local_ts: 10.1.1.0/24, remote_ts: 10.3.0.0/24, start: start}}",
        "children: {lan: {local_ts: 10.1.1.0/24, remote_ts: 10.3.0.0/24, start: start},"
        " more: {local_ts: 10.1.9.0/24, remote_ts: 10.3.9.0/24}}",
        {"two": ("change", "anew", ["lan"])},
    ),
    "removed": (FILE[FILE.index("  two:") :], "", {"two": ("remove", "end", ["lan"])}),
    "renamed": ("  two:", "  three:", {"three": ("add", "none", []), "two": ("remove", "end", ["lan"])}),
    "ports": ("limits: {half_open: 50}", "limits: {half_open: 50}, ports: {ike: 1500, nat_t: 1501}", {}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_planned_is_what_happens(gateway: Gateway, name: str) -> None:
    old, new, expected = CHANGES[name]
    text = FILE.replace(old, new, 1)
    assert (text == FILE) == (name == "nothing")
    plan = gateway.plan(text)
    assert {c.name: (c.action, c.cost, c.interrupts) for c in plan.connections} == expected
    assert plan.configuration_differs == (name != "nothing")

    wanted = gateway.reconciler.planned(gateway.step(text).resolved, gateway.step(text).newer.gateway.policies)
    before = gateway.kernel.actual()
    gateway.reload(text)
    assert bool(plan.lines) == (gateway.kernel.actual() != before)
    assert gateway.kernel.plan(wanted).render() == ""
    gateway.world.run(5)
    assert gateway.closed() == {c.name for c in plan.connections if c.cost in ("anew", "end")}
    rekeyed = {f"{e.connection}/{e.child}" for e in gateway.node.of(ChildSaRekeyed) if isinstance(e, ChildSaRekeyed)}
    assert rekeyed == {f"{c.name}/{child}" for c in plan.connections for child in c.rekeys}


def test_keys_are_told_old_and_new_and_secrets_never(gateway: Gateway) -> None:
    text = FILE.replace("first secret of the two", "another secret altogether")
    text = text.replace("remote: {address: 172.16.2.1}", "remote: {address: 172.16.2.9}")
    text = text.replace("10.1.2.0/24, start: start", "10.1.2.0/24, start: trap, rekey: {time: 30m}")
    (change,) = gateway.plan(text).connections
    assert [(k.key, k.old, k.new) for k in change.keys if not k.secret] == [
        ("remote.address", "172.16.2.1", "172.16.2.9"),
        ("remote.id", "172.16.2.1", "172.16.2.9"),
    ]
    (secret,) = [k for k in change.keys if k.secret]
    assert (secret.key, secret.old, secret.new) == ("auth.psk", "", "")
    assert "secret of the" not in repr(gateway.plan(text)) and "altogether" not in repr(gateway.plan(text))
    (child,) = change.children
    assert (child.name, child.action, child.carries) == ("lan", "change", "10.1.1.0/24 <-> 10.1.2.0/24")
    assert [(k.key, k.old, k.new) for k in child.keys] == [
        ("start", "start", "trap"),
        ("rekey.time", "1h", "30m"),
        ("lifetime.time", "72m", "36m"),
    ]


def test_another_spelling_is_no_difference(gateway: Gateway) -> None:
    text = FILE.replace("start: start}}", "start: start, rekey: {time: 60m}, mtu: auto}}").replace(
        "half_open: 50", "half_open: 50, cookies_from: 50"
    )
    assert text != FILE
    plan = gateway.plan(text)
    assert (plan.configuration_differs, plan.connections, plan.gateway, plan.lines) == (False, [], [], [])


def test_what_waits_for_the_next_start_is_told_apart(gateway: Gateway) -> None:
    ports = FILE.replace("limits: {half_open: 50}", "limits: {half_open: 60}, ports: {ike: 1500, nat_t: 1501}")
    now, later = gateway.plan(ports).gateway
    assert (now.cost, [k.key for k in now.keys]) == ("none", ["gateway.limits.half_open"])
    assert (later.cost, [k.key for k in later.keys]) == ("restart", ["gateway.ports.ike", "gateway.ports.nat_t"])
    assert "next start" in later.effect
    newer = read(ports, gateway.configuration)
    after = Step(gateway.node.engine, gateway.configuration, newer, read(ports, newer), newer.engine)
    assert after.result([]).configuration_differs is False and after.waiting() == ["gateway.ports"]


def test_who_has_no_sa_is_not_interrupted(gateway: Gateway) -> None:
    gateway.world.do(gateway.node, partial(gateway.node.engine.terminate, "two", None))
    gateway.world.run(1)
    (change,) = gateway.plan(FILE.replace("10.3.0.0/24", "10.3.0.0/16")).connections
    assert (change.cost, change.interrupts) == ("anew", []) and "nothing is interrupted" in change.effect
    (gone,) = gateway.plan(FILE[: FILE.index("  two:")]).connections
    assert gone.interrupts == [] and "it has no SA" in gone.effect and "routes and firewall" in gone.effect


def test_a_kernel_that_was_disturbed_is_a_matter_of_its_own(gateway: Gateway) -> None:
    gateway.kernel.policies.popitem()
    plan = gateway.plan(FILE)
    assert not plan.configuration_differs and len(plan.lines) == 1 and plan.lines[0].startswith("+ policy")


def test_the_words_of_a_reload_are_from_the_same_changes(gateway: Gateway) -> None:
    step = gateway.step(
        FILE.replace("  two:", "  three:").replace("10.1.2.0/24, start", "10.1.2.0/24, df: clear, start")
    )
    told = reloaded(step.connections(), step.gateway(), "")
    assert (told.added, told.changed, told.removed) == (["three"], ["one"], ["two"])
    assert told.message == "1 added, 1 changed, 1 removed; for DF: rekey of one/lan"
    assert reloaded([], [], "gateway.ports").message == "nothing has changed; at the next start: gateway.ports"
    assert reloaded([], gateway.step(FILE.replace("50", "60", 1)).gateway(), "").message == "settings of the gateway"
