"""The plan never opens a gap, whatever it comes from and whatever it goes to (visited on the fake)."""

from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.kernel.kernel_values import child, state
from xfrmctl.kernel.desired import Clamp, Desired, Policy, PolicyKey, Route, XfrmInterface
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.kernel.firewall.clamp import elements
from xfrmctl.kernel.ownership import PEER_TABLE, if_id_for
from xfrmctl.kernel.plan import diff, holding


@st.composite
def states(draw: st.DrawFn) -> Desired:
    """Up to four children, each absent, blocked, or up, in either data plane, with routes, MTUs and clamps."""
    policies: dict[PolicyKey, Policy] = {}
    interfaces: dict[str, XfrmInterface] = {}
    routes: set[Route] = set()
    clamps: set[Clamp] = set()
    for number in range(1, 5):
        what = draw(st.sampled_from(["absent", "block", "policy", "interface", "guard"]))
        local, remote = ip_network(f"10.1.{number}.0/24"), ip_network(f"10.2.{number}.0/24")
        mtu = draw(st.sampled_from([1300, 1400, 1446]))
        if what in ("block", "policy"):
            policies |= child(number, block=what == "block", priority=draw(st.sampled_from([10, 20])))
        if what in ("interface", "guard"):
            routes.add(Route(remote, None, 9000))
        if what == "interface":
            name = draw(st.sampled_from([f"ipsec{number}", "shared" if number == 1 else f"ipsec{number}"]))
            if_id = if_id_for(draw(st.sampled_from([number, number + 10])))
            interfaces[name] = XfrmInterface(name, if_id, mtu)
            policies |= child(number, if_id=if_id)
            routes.add(Route(remote, name, 10, draw(st.sampled_from([None, mtu]))))
        if what in ("policy", "interface") and draw(st.booleans()):
            clamps.add(Clamp(local, remote, mtu - 40))
    return Desired(policies, interfaces, frozenset(routes), frozenset(clamps))


def rendering_of(desired: Desired) -> str:
    """What a fresh fake looks like with the state applied."""
    kernel = FakeKernel()
    assert kernel.converge(desired).problems == ()
    return kernel.render()


@given(st.lists(states(), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_every_walk_ends_where_it_should_and_leaves_no_gap(walk: list[Desired]) -> None:
    kernel = FakeKernel()
    before = Desired()
    for after in walk:
        kept_policies = before.policies.keys() & after.policies.keys()
        kept_guards = {r for r in before.routes & after.routes if r.device is None}
        kept_members = elements(before.clamps) & elements(after.clamps)

        def covered(
            policies: set[PolicyKey] = kept_policies,
            guards: set[Route] = kept_guards,
            members: frozenset[object] = kept_members,
        ) -> None:
            assert policies <= kernel.policies.keys()
            assert guards <= set(kernel.routes.values())
            assert members <= kernel.members

        kernel.after_each_step = covered
        assert kernel.converge(after).problems == ()
        assert kernel.render() == rendering_of(after)
        assert not kernel.plan(after)
        before = after


@given(states(), states())
@settings(max_examples=100, deadline=None)
def test_a_change_of_a_part_does_what_converge_does(one: Desired, two: Desired) -> None:
    kernel = FakeKernel()
    kernel.converge(one)
    assert kernel.change(one, two).problems == ()
    assert kernel.render() == rendering_of(two)


@given(states(), states())
@settings(max_examples=50, deadline=None)
def test_cleanup_leaves_nothing(one: Desired, two: Desired) -> None:
    kernel = FakeKernel()
    kernel.converge(one)
    kernel.converge(two)
    kernel.cleanup()
    assert kernel.render() == ""


def test_blocked_becomes_tunnel_in_one_step_a_policy() -> None:
    plan = diff(holding(state(child(block=True))), state(child()))
    assert [str(o)[:12] for o in plan.operations] == ["~ policy in ", "~ policy fwd", "~ policy out"]


def test_order_of_a_new_tunnel_and_of_its_end() -> None:
    remote = ip_network("10.2.1.0/24")
    if_id = if_id_for(1)
    up = Desired(
        child(if_id=if_id),
        {"ipsec1": XfrmInterface("ipsec1", if_id, 1400)},
        frozenset({Route(remote, None, 9000), Route(remote, "ipsec1", 10)}),
        frozenset({Clamp(ip_network("10.1.1.0/24"), remote, 1360)}),
    )
    text = diff(holding(Desired()), up).render().splitlines()
    assert [line.split(" ")[:3] for line in text] == [
        ["+", "route", "10.2.1.0/24"],
        ["+", "clamp", "rule"],
        ["+", "clamp", "10.1.1.0/24"],
        ["+", "interface", "ipsec1"],
        ["+", "policy", "in"],
        ["+", "policy", "fwd"],
        ["+", "policy", "out"],
        ["+", "route", "10.2.1.0/24"],
    ]
    assert "blackhole" in text[0] and "ipsec1" in text[-1]
    text = diff(holding(up), Desired()).render().splitlines()
    assert "blackhole" in text[-1]
    assert [line.split(" ")[1] for line in text] == [
        *("clamp", "clamp", "route", "policy", "policy", "policy", "interface", "route")
    ]
    assert text[3].startswith("- policy out")


def test_sizes_are_lowered_from_the_inside_out_and_raised_from_the_outside_in() -> None:
    """At no step does what is inside take more than what is outside of it carries."""
    pair, peer = (ip_network("10.1.1.0/24"), ip_network("10.2.1.0/24")), ip_network("192.0.2.2")

    def sized(outer: int) -> Desired:
        inner = outer - 54
        routes = {Route(pair[1], "ipsec1", 10, inner), Route(peer, "wan", 58, outer, table=PEER_TABLE)}
        interface = XfrmInterface("ipsec1", if_id_for(1), inner)
        return Desired({}, {"ipsec1": interface}, frozenset(routes), frozenset({Clamp(*pair, inner - 40)}))

    def steps(old: int, new: int) -> list[str]:
        return [" ".join(str(o).split()[:3]) for o in diff(holding(sized(old)), sized(new)).operations]

    inside_out = ["~ route 10.2.1.0/24", "~ interface ipsec1", "~ route 192.0.2.2/32"]
    lower, higher = steps(1500, 1400), steps(1400, 1500)
    assert [s for s in lower if "clamp" not in s] == inside_out
    assert [s for s in higher if "clamp" not in s] == inside_out[::-1]
    assert lower[0].startswith("+ clamp") and lower[-1].startswith("- clamp"), "in both sets the smaller MSS applies"
    assert higher[0].startswith("+ clamp") and higher[-1].startswith("- clamp")


def test_mtu_is_lowered_early_and_raised_late() -> None:
    def with_mtu(mtu: int, *policies: dict[PolicyKey, Policy]) -> Desired:
        one = state(*policies)
        return Desired(one.policies, {"ipsec1": XfrmInterface("ipsec1", if_id_for(1), mtu)})

    lower = diff(holding(with_mtu(1400)), with_mtu(1300, child())).render().splitlines()
    higher = diff(holding(with_mtu(1300)), with_mtu(1400, child())).render().splitlines()
    assert lower[0].startswith("~ interface ipsec1") and higher[-1].startswith("~ interface ipsec1")


def test_a_pair_moves_to_its_new_mss_before_it_leaves_the_old_one() -> None:
    pair = (ip_network("10.1.1.0/24"), ip_network("10.2.1.0/24"))
    one, two = (Desired(clamps=frozenset({Clamp(*pair, mss)})) for mss in (1400, 1300))
    text = diff(holding(one), two).render().splitlines()
    assert text == [
        "+ clamp rule IPv4 mss 1300",
        "+ clamp 10.1.1.0/24 <-> 10.2.1.0/24 mss 1300",
        "- clamp 10.1.1.0/24 <-> 10.2.1.0/24 mss 1400",
        "- clamp rule IPv4 mss 1400",
    ]


def test_a_rule_that_was_flushed_comes_back() -> None:
    pair = (ip_network("10.1.1.0/24"), ip_network("10.2.1.0/24"))
    desired = Desired(clamps=frozenset({Clamp(*pair, 1400)}))
    kernel = FakeKernel()
    kernel.converge(desired)
    kernel.rules.clear()
    assert kernel.plan(desired).render() == "+ clamp rule IPv4 mss 1400"
