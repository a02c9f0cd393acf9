"""One connection that serves many peers from unknown addresses at once: each with what is its own, none with another's.

The hub's engine runs in the world, and its reconciler on a kernel in memory that refuses misuse.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from tests.calls import calls
from tests.sim.world import Datagram, Node, World, child, connection, selectors, start
from xfrmctl.daemon import routes
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.ike.claims import Claim, Claims
from xfrmctl.ike.config import PEER_REQIDS, Start, Unique
from xfrmctl.kernel.desired import Action, Policy
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.model.events import ChildSaRemoved, NegotiationFailed
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import ExchangeType
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.sa import DataPlane, Direction, Mode
from xfrmctl.pmtu.settings import PathOptions

HUB = "172.16.0.1"
INSIDE = "10.0.0.0/16"
OUTSIDE = "10.128.0.0/9"


@pytest.fixture(autouse=True)
def _paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the routes of this machine are, the paths of the world carry 1500 bytes."""
    monkeypatch.setattr(routes, "outer_mtu", lambda local, remote: 1500)


class Hub:
    """The gateway with one connection for everybody, and its kernel."""

    def __init__(self, world: World, **more: Any) -> None:
        self.world = world
        defaults: dict[str, Any] = {"local": INSIDE, "remote": OUTSIDE, "start": Start.NONE}
        options = {"remote_id": None, "dpd_s": None} | more
        config = child(**(defaults | options.pop("child", {})))
        self.node = world.add("hub", HUB, connection(HUB, None, config, name="all", **options))
        self.kernel = FakeKernel()
        self.bus = Bus()
        paths = PathKeeper(self.node.engine, self.kernel, PathOptions(), lambda: world.now)
        self.reconciler = Reconciler(self.node.engine, self.kernel, self.bus, paths)
        self.bus.subscribe(self.reconciler.observe)
        self._seen = 0
        asyncio.run(self.reconciler.everything())

    def settle(self) -> None:
        """Tell the reconciler what has happened, let it change what that touches, and prove that this is all."""
        for event in self.node.events[self._seen :]:
            self.bus.publish(event)
        self._seen = len(self.node.events)
        asyncio.run(self.reconciler.changed())
        changed = dict(self.kernel.policies), dict(self.kernel.interfaces), set(self.kernel.members)
        asyncio.run(self.reconciler.everything())
        assert changed == (self.kernel.policies, self.kernel.interfaces, self.kernel.members)

    def policy(self, address: str, direction: Direction = Direction.OUT) -> Policy:
        """What happens to a packet between the hub's network and ``address``."""
        where = ip_address(address)

        def fits(policy: Policy) -> bool:
            theirs = policy.key.destination if direction == Direction.OUT else policy.key.source
            return policy.key.direction == direction and where in theirs

        return min((p for p in self.kernel.policies.values() if fits(p)), key=lambda p: p.priority)

    def goes_to(self, address: str) -> str | None:
        """Where ESP for an inner address goes to; None where it is blocked."""
        self.settle()
        out, back = self.policy(address), self.policy(address, Direction.IN)
        if out.template is None or back.template is None:
            assert out.action is back.action is Action.BLOCK
            return None
        assert out.template.reqid == back.template.reqid
        assert (out.template.source, out.template.destination) == (back.template.destination, back.template.source)
        sas = [sa for sa, _ in self.node.sad.values() if sa.reqid == out.template.reqid]
        assert {sa.direction for sa in sas} == {Direction.IN, Direction.OUT}
        assert {sa.destination for sa in sas if sa.direction == Direction.OUT} == {out.template.destination}
        return str(out.template.destination)

    @property
    def failures(self) -> list[Failure]:
        return [e.failure for e in self.node.events if isinstance(e, NegotiationFailed)]


def spoke(world: World, number: int, address: str, network: str, **more: Any) -> Node:
    """A gateway that calls the hub; its identity does not depend on its address."""
    identity = parse_identity(f"fqdn:spoke{number}.example.org")
    lan = child(local=network, remote=INSIDE)
    options: dict[str, Any] = {"local_id": identity, "dpd_s": None} | more
    return world.add(f"spoke at {address}", address, connection(address, HUB, lan, **options))


def came_up(world: World, *nodes: Node) -> None:
    start(world, *nodes)
    world.run(2)


@pytest.mark.rfc("4301", "4.4.1")
def test_three_peers_at_once_have_reqids_policies_and_sas_of_their_own() -> None:
    world = World()
    hub = Hub(world)
    assert hub.goes_to("10.129.0.1") is None, "nobody is there, and nothing leaves in clear"
    spokes = [spoke(world, n, f"172.16.1.{n}", f"10.{128 + n}.0.0/16") for n in (1, 2, 3)]
    came_up(world, *spokes)
    reqids = {sa.reqid for sa, _ in hub.node.sad.values()}
    assert len(reqids) == 3
    assert all(reqid in PEER_REQIDS for reqid in reqids)
    assert [hub.goes_to(f"10.{128 + n}.0.1") for n in (1, 2, 3)] == ["172.16.1.1", "172.16.1.2", "172.16.1.3"]
    assert hub.goes_to("10.140.0.1") is None, "what no peer has asked for stays blocked"
    assert hub.node.engine.peers.count("all") == 3


def test_a_peer_that_leaves_takes_its_policies_and_leaves_the_block() -> None:
    world = World()
    hub = Hub(world)
    one, two = spoke(world, 1, "172.16.1.1", "10.129.0.0/16"), spoke(world, 2, "172.16.1.2", "10.130.0.0/16")
    came_up(world, one, two)
    assert hub.goes_to("10.129.0.1") == "172.16.1.1"
    world.do(one, one.engine.shutdown)
    world.run(1)
    assert hub.goes_to("10.129.0.1") is None
    assert hub.goes_to("10.130.0.1") == "172.16.1.2"
    assert hub.node.engine.peers.count("all") == 1
    assert len(hub.node.sad) == 2


def test_selectors_that_are_the_configured_ones_take_the_place_of_the_block_and_give_it_back() -> None:
    world = World()
    hub = Hub(world)
    only = spoke(world, 1, "172.16.1.1", OUTSIDE)
    came_up(world, only)
    assert hub.goes_to("10.200.0.1") == "172.16.1.1"
    world.do(only, only.engine.shutdown)
    world.run(1)
    assert hub.goes_to("10.200.0.1") is None


@pytest.mark.rfc("7296", "2.9")
@pytest.mark.rfc("3948", "5.1")
@pytest.mark.parametrize("theirs", ["10.129.0.0/16", "10.129.7.0/24", "10.128.0.0/10"])
def test_a_second_peer_with_another_identity_never_takes_the_selectors_of_the_first(theirs: str) -> None:
    world = World()
    hub = Hub(world)
    came_up(world, spoke(world, 1, "172.16.1.1", "10.129.0.0/16"))
    came_up(world, thief := spoke(world, 2, "172.16.1.2", theirs))
    (failure,) = hub.failures
    assert failure.code == FailureCode.SELECTORS_TAKEN
    assert failure.notify == "TS_UNACCEPTABLE"
    assert "fqdn:spoke2.example.org asks for selectors that fqdn:spoke1.example.org has" in failure.text
    assert failure.cause and failure.cure
    assert [f.failure.notify for f in thief.events if isinstance(f, NegotiationFailed)] == ["TS_UNACCEPTABLE"]
    assert not thief.sad
    assert hub.goes_to("10.129.7.1") == "172.16.1.1"
    assert len(hub.node.sad) == 2


def test_what_a_peer_had_is_free_again_when_it_has_gone() -> None:
    world = World()
    hub = Hub(world)
    came_up(world, one := spoke(world, 1, "172.16.1.1", "10.129.0.0/16"))
    world.do(one, one.engine.shutdown)
    world.run(1)
    came_up(world, spoke(world, 2, "172.16.1.2", "10.129.0.0/16"))
    assert hub.goes_to("10.129.0.1") == "172.16.1.2"
    assert not hub.failures


def test_a_peer_that_is_refused_its_selectors_gets_in_when_they_are_free() -> None:
    world = World()
    hub = Hub(world)
    came_up(world, one := spoke(world, 1, "172.16.1.1", "10.129.0.0/16"))
    came_up(world, spoke(world, 2, "172.16.1.2", "10.129.0.0/16"))
    world.do(one, one.engine.shutdown)
    world.run(60)
    assert hub.goes_to("10.129.0.1") == "172.16.1.2", "over the IKE SA that it has, by its own retries"


@pytest.mark.rfc("7296", "2.4")
def test_an_identity_that_says_initial_contact_replaces_itself_from_another_address() -> None:
    world = World()
    hub = Hub(world)
    old = spoke(world, 1, "172.16.1.1", "10.129.0.0/16")
    came_up(world, old, spoke(world, 2, "172.16.1.2", "10.130.0.0/16"))
    (before,) = {sa.reqid for sa, _ in hub.node.sad.values() if str(sa.destination) == "172.16.1.1"}
    del world.nodes[old.address]
    came_up(world, spoke(world, 1, "172.16.9.9", "10.129.0.0/16"))
    assert hub.goes_to("10.129.0.1") == "172.16.9.9"
    assert hub.goes_to("10.130.0.1") == "172.16.1.2", "the others keep theirs"
    assert not hub.failures
    (gone,) = [e for e in hub.node.events if isinstance(e, ChildSaRemoved)]
    assert gone.reqid == before
    assert before in {sa.reqid for sa, _ in hub.node.sad.values()}, "the same peer has the same reqid"
    assert len(hub.node.sad) == 4
    assert hub.node.engine.peers.count("all") == 2


NATTED = "192.168.7.1"


def reauthenticates(unique: Unique, outside: str) -> Hub:
    """A peer behind a NAT that makes a new IKE SA while it has the old one: no INITIAL_CONTACT, from ``outside``."""
    world = World()
    hub = Hub(world, unique=unique)
    world.nat[ip_address(NATTED)] = ip_address("172.16.1.1")
    one = spoke(world, 1, NATTED, "10.129.0.0/16", reauth_s=20.0, keepalive_s=1000.0)
    came_up(world, one)
    assert hub.goes_to("10.129.0.1") == "172.16.1.1"
    world.nat[ip_address(NATTED)] = ip_address(outside)
    world.intercept.append(lambda d: None if _is_informational(d) and d.source.address == one.address else d)
    world.run(33)
    hub.settle()
    return hub


def _is_informational(datagram: Datagram) -> bool:
    header = datagram.data[4:] if datagram.data[:4] == bytes(4) else datagram.data
    return len(header) > 28 and header[18] == ExchangeType.INFORMATIONAL


@pytest.mark.rfc("7296", "2.8.3")
@pytest.mark.parametrize("unique", [Unique.REPLACE, Unique.KEEP])
def test_at_the_same_address_the_old_ike_sa_overlaps_a_moment_and_goes(unique: Unique) -> None:
    hub = reauthenticates(unique, "172.16.1.1")
    assert hub.goes_to("10.129.0.1") == "172.16.1.1"
    assert not hub.failures
    reasons = [e.reason.text for e in hub.node.events if isinstance(e, ChildSaRemoved)]
    if unique == Unique.REPLACE:
        assert reasons and all("reauthenticated" in text for text in reasons)
    assert hub.node.engine.peers.count("all") == 1


def test_from_another_address_the_newcomer_replaces_the_old_one_at_once() -> None:
    hub = reauthenticates(Unique.REPLACE, "172.16.9.9")
    assert hub.goes_to("10.129.0.1") == "172.16.9.9"
    assert not hub.failures
    reasons = {e.reason.text for e in hub.node.events if isinstance(e, ChildSaRemoved)}
    assert any("made a new IKE SA from 172.16.9.9" in text for text in reasons)


def test_with_unique_keep_the_newcomer_is_refused_and_told_apart_in_the_log() -> None:
    hub = reauthenticates(Unique.KEEP, "172.16.9.9")
    assert {f.code for f in hub.failures} == {FailureCode.IDENTITY_IN_USE}
    assert "fqdn:spoke1.example.org is here already, from 172.16.1.1" in hub.failures[0].text
    assert hub.goes_to("10.129.0.1") == "172.16.1.1"


def test_with_unique_no_one_identity_is_several_peers_and_still_nobody_takes_anothers() -> None:
    world = World()
    hub = Hub(world, unique=Unique.NO)
    came_up(world, spoke(world, 1, "172.16.1.1", "10.129.0.0/16"), spoke(world, 1, "172.16.1.2", "10.130.0.0/16"))
    assert [hub.goes_to("10.129.0.1"), hub.goes_to("10.130.0.1")] == ["172.16.1.1", "172.16.1.2"]
    came_up(world, spoke(world, 1, "172.16.1.3", "10.129.0.0/16"))
    assert [f.code for f in hub.failures] == [FailureCode.SELECTORS_TAKEN]
    assert hub.goes_to("10.129.0.1") == "172.16.1.1"
    assert hub.node.engine.peers.count("all") == 3


def test_with_unique_no_a_peer_that_starts_afresh_at_its_address_and_port_gets_its_selectors_back() -> None:
    world = World()
    hub = Hub(world, unique=Unique.NO)
    came_up(world, spoke(world, 1, "172.16.1.1", "10.129.0.0/16"))
    came_up(world, spoke(world, 1, "172.16.1.1", "10.129.0.0/16"))
    assert not hub.failures
    assert hub.goes_to("10.129.0.1") == "172.16.1.1"
    assert len(hub.node.sad) == 2


@pytest.mark.rfc("3948", "5.1")
def test_several_peers_behind_one_nat_have_one_address_and_are_told_apart() -> None:
    world = World()
    hub = Hub(world)
    spokes = []
    for number in (1, 2, 3):
        inside = ip_address(f"192.168.7.{number}")
        world.nat[inside], world.nat_shifts[inside] = ip_address("172.16.5.5"), 10000 * number
        spokes.append(spoke(world, number, str(inside), f"10.{128 + number}.0.0/16"))
    came_up(world, *spokes)
    outs = {sa.reqid: sa for sa, _ in hub.node.sad.values() if sa.direction == Direction.OUT}
    assert {str(sa.destination) for sa in outs.values()} == {"172.16.5.5"}
    ports = {}
    for number in (1, 2, 3):
        assert hub.goes_to(f"10.{128 + number}.0.1") == "172.16.5.5"
        template = hub.policy(f"10.{128 + number}.0.1").template
        assert template is not None
        encap = outs[template.reqid].encap
        assert encap is not None
        ports[number] = encap.destination_port
    assert ports == {1: 14500, 2: 24500, 3: 34500}


@pytest.mark.rfc("3948", "5.2")
def test_in_transport_mode_only_one_peer_behind_a_nat_is_served() -> None:
    """Their packets would have the same addresses: the second is refused, and gets in when the first has gone."""
    world = World()
    hub = Hub(world, child={"local": HUB, "remote": "172.16.0.0/16", "mode": Mode.TRANSPORT})
    spokes = []
    for number in (1, 2):
        inside = f"192.168.7.{number}"
        world.nat[ip_address(inside)], world.nat_shifts[ip_address(inside)] = ip_address("172.16.5.5"), 10000 * number
        host = child(local=inside, remote=HUB, mode=Mode.TRANSPORT)
        identity = parse_identity(f"fqdn:spoke{number}.example.org")
        end = connection(inside, HUB, host, local_id=identity, dpd_s=None)
        spokes.append(world.add(f"spoke {number}", inside, end))
        came_up(world, spokes[-1])
    assert [len(node.sad) for node in (*spokes, hub.node)] == [2, 0, 2]
    assert {f.notify for f in hub.failures} == {"TS_UNACCEPTABLE"}
    world.do(spokes[0], lambda now: spokes[0].engine.terminate("net", None, now))
    world.run(120)
    assert [len(node.sad) for node in (*spokes, hub.node)] == [0, 2, 2]


def test_rekeying_keeps_the_reqid_of_a_peer() -> None:
    world = World()
    hub = Hub(world)
    came_up(world, spoke(world, 1, "172.16.1.1", "10.129.0.0/16"), spoke(world, 2, "172.16.1.2", "10.130.0.0/16"))
    before = {sa.reqid for sa, _ in hub.node.sad.values()}
    spis = set(hub.node.sad)
    world.do(hub.node, lambda now: hub.node.engine.rekey("all", None, now))
    world.run(5)
    world.do(hub.node, lambda now: hub.node.engine.rekey("all", "lan", now))
    world.run(20)
    assert {sa.reqid for sa, _ in hub.node.sad.values()} == before
    assert not spis & set(hub.node.sad)
    assert [hub.goes_to("10.129.0.1"), hub.goes_to("10.130.0.1")] == ["172.16.1.1", "172.16.1.2"]
    assert hub.node.engine.peers.count("all") == 2
    world.do(hub.node, lambda now: hub.node.engine.terminate("all", None, now))
    world.run(1)  # the spokes come again after two seconds
    assert hub.goes_to("10.129.0.1") is None
    assert hub.node.engine.peers.count("all") == 0
    assert not hub.node.engine.peers.reqids


def test_a_rekey_by_the_hub_takes_no_more_than_a_peer_may_have() -> None:
    """The hub offers all that the child may have; an answer with another peer's network is refused, and undone."""
    world = World()
    hub = Hub(world)
    greedy = spoke(world, 2, "172.16.1.2", "10.130.0.0/16")
    came_up(world, spoke(world, 1, "172.16.1.1", "10.129.0.0/16"), greedy)
    wide = replace(greedy.sa().children[0].config, local_ts=selectors("10.128.0.0/9"))
    greedy.sa().children[0].config = wide
    victim = hub.goes_to("10.129.0.1")
    world.do(hub.node, lambda now: hub.node.engine.rekey("all", "lan", now))
    world.run(3)
    assert FailureCode.SELECTORS_TAKEN in {f.code for f in hub.failures}
    assert hub.goes_to("10.129.0.1") == victim == "172.16.1.1"
    assert hub.goes_to("10.130.0.1") == "172.16.1.2", "the old CHILD SA lives on"


def test_peers_share_one_interface_whose_policies_tell_them_apart() -> None:
    world = World()
    more = {"dataplane": DataPlane.INTERFACE, "interface": "xfc-all", "if_id": 0x58000009}
    hub = Hub(world, child=more)
    inside = ip_address("192.168.7.1")
    world.nat[inside] = ip_address("172.16.5.5")
    came_up(world, spoke(world, 1, str(inside), "10.129.0.0/16"), spoke(world, 2, "172.16.1.2", "10.130.0.0/16"))
    assert [hub.goes_to("10.129.0.1"), hub.goes_to("10.130.0.1")] == ["172.16.5.5", "172.16.1.2"]
    assert {p.key.if_id for p in hub.kernel.policies.values()} == {0x58000009}
    assert {sa.if_id for sa, _ in hub.node.sad.values()} == {0x58000009}
    (interface,) = hub.kernel.interfaces.values()
    found = (hub.reconciler.sizes(reqid) for reqid in hub.node.engine.peers.reqids)
    behind_nat, plain = sorted(sizes.inner_mtu for sizes in found if sizes is not None)
    routes = {str(r.destination): r.mtu for r in hub.kernel.routes.values() if r.device == interface.name}
    assert interface.mtu == plain > behind_nat, "room for each; what is too large for one peer its route tells"
    assert routes["10.129.0.0/16"] == behind_nat and routes["10.130.0.0/16"] == plain
    assert routes.keys() == {OUTSIDE, "10.129.0.0/16", "10.130.0.0/16"} and (routes[OUTSIDE] or 0) <= behind_nat


def test_a_peer_that_moves_behind_its_nat_takes_its_policies_along() -> None:
    world = World()
    hub = Hub(world)
    world.nat[ip_address(NATTED)] = ip_address("172.16.1.1")
    one = spoke(world, 1, NATTED, "10.129.0.0/16", dpd_s=5.0)
    came_up(world, one)
    world.nat[ip_address(NATTED)] = ip_address("172.16.9.9")
    world.run(10)
    assert hub.goes_to("10.129.0.1") == "172.16.9.9"


# -- a key for each


@pytest.mark.rfc("7296", "2.15")
def test_each_peer_proves_itself_with_its_own_key_and_with_no_others() -> None:
    world = World()
    keys = {parse_identity(f"fqdn:spoke{n}.example.org"): f"the key of spoke {n}".encode() for n in (1, 2)}
    hub = Hub(world, psk=b"", psks=keys)
    one, two = keys.values()
    came_up(world, spoke(world, 1, "172.16.1.1", "10.129.0.0/16", psk=one))
    came_up(world, spoke(world, 2, "172.16.1.2", "10.130.0.0/16", psk=two))
    assert [hub.goes_to("10.129.0.1"), hub.goes_to("10.130.0.1")] == ["172.16.1.1", "172.16.1.2"]
    came_up(world, spoke(world, 1, "172.16.1.3", "10.131.0.0/16", psk=two))
    came_up(world, spoke(world, 9, "172.16.1.4", "10.132.0.0/16", psk=one))
    came_up(world, spoke(world, 8, "172.16.1.5", "10.133.0.0/16", psk=b""))
    texts = [failure.text for failure in hub.failures]
    assert "the peer's proof of identity fqdn:spoke1.example.org does not verify" in texts
    assert "connection all has no key for fqdn:spoke9.example.org" in texts
    assert "connection all has no key for fqdn:spoke8.example.org" in texts
    assert hub.goes_to("10.129.0.1") == "172.16.1.1", "nobody takes another's place with a key of his own"
    assert hub.node.engine.peers.count("all") == 2


# -- what it costs


@pytest.mark.parametrize("number", [10, 10_000])
def test_a_claim_costs_the_same_among_ten_and_ten_thousand(number: int) -> None:
    claims = Claims()
    for n in range(number):
        claims.add(Claim(n, selectors(INSIDE), selectors(f"10.{128 + (n >> 8)}.{n & 255}.0/24")))
    free, taken = Claim(-1, selectors(INSIDE), selectors("10.250.3.0/24")), selectors("10.128.9.0/25")
    assert claims.rival(free) is None
    assert claims.rival(Claim(-1, selectors(INSIDE), taken)) is not None

    def come_and_go() -> None:
        claims.add(free)
        claims.remove(free)

    assert calls(come_and_go) + calls(lambda: claims.rival(free)) < 200


def test_a_peer_costs_the_same_among_three_and_a_hundred() -> None:
    def cost(others: int) -> int:
        world = World(latency_s=0.0)
        hub = Hub(world, child={"remote": "10.0.0.0/8", "local": "192.168.0.0/24"})
        nodes = [
            world.add(
                f"spoke{n}",
                f"172.17.{n >> 8}.{n & 255}",
                connection(
                    f"172.17.{n >> 8}.{n & 255}",
                    HUB,
                    child(local=f"10.{n}.0.0/16", remote="192.168.0.0/24"),
                    dpd_s=None,
                ),
            )
            for n in range(1, others + 2)
        ]
        *early, late = nodes
        came_up(world, *early)
        hub.settle()
        came_up(world, late)
        for event in hub.node.events[hub._seen :]:
            hub.bus.publish(event)
        hub._seen = len(hub.node.events)
        cost = calls(lambda: asyncio.run(hub.reconciler.changed()))
        assert hub.goes_to(f"10.{others + 1}.0.1") is not None
        again = calls(lambda: world.do(hub.node, hub_closes(hub)))
        return cost + again

    assert cost(100) <= cost(3) * 1.1


def hub_closes(hub: Hub) -> Callable[[float], None]:
    """The newest peer's CHILD SA ends at its hard limit."""
    sa = hub.node.engine.ike_sas("all")[-1]
    return lambda now: hub.node.engine.handle_expire(sa.children[0].inbound, True, now)
