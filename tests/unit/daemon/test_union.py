"""Parts put together: whatever order they come and go in, what is touched is told as it was and as it is."""

from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from xfrmctl.daemon.union import Union
from xfrmctl.kernel.desired import Action, Clamp, Desired, Policy, PolicyKey, Route, Template, XfrmInterface
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.model.sa import Direction

NETS = [ip_network(f"10.{n}.0.0/16") for n in range(3)]
HERE = ip_network("192.168.0.0/24")


@st.composite
def parts(draw: st.DrawFn) -> Desired:
    nets = draw(st.sets(st.sampled_from(NETS)))
    keys = [PolicyKey(Direction.OUT, HERE, net) for net in nets]
    policies = {key: Policy(key, Action.BLOCK, draw(st.integers(1, 3))) for key in keys}
    names = draw(st.sets(st.just("two"))) | ({"one"} if nets else set())
    interfaces = {
        name: XfrmInterface(name, 0x58000000 + len(name) * ord(name[0]), draw(st.sampled_from([1300, 1400, 1438])))
        for name in names
    }
    routes = frozenset(Route(net, "one", 58) for net in nets)
    return Desired(policies, interfaces, routes, frozenset(Clamp(HERE, net, 1300) for net in nets))


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.integers(1, 4), st.none() | parts(), max_size=3), max_size=6))
def test_changes_bring_the_kernel_to_the_whole_without_a_look_at_it(steps: list[dict[int, Desired | None]]) -> None:
    union, kernel = Union(), FakeKernel()
    for step in steps:
        before, after = union.replace(step)
        assert kernel.change(before, after).problems == ()
        assert union.policies == len(union.whole().policies)
        assert not kernel.plan(union.whole())
    assert Union(union.parts).whole() == union.whole()


def test_a_part_with_a_higher_number_hides_what_a_lower_one_wants_and_gives_it_back() -> None:
    key = PolicyKey(Direction.OUT, HERE, NETS[0])
    ends = ip_address("192.0.2.1"), ip_address("192.0.2.2")
    block = Desired({key: Policy(key, Action.BLOCK, 7)})
    protect = Desired({key: Policy(key, Action.ALLOW, 7, Template(*ends, 0x58800001))})
    bypass = Desired({key: Policy(key, Action.ALLOW, 7)})
    union = Union({1: block})
    before, after = union.replace({0x58800001: protect})
    assert (before, after) == (block, protect)
    assert union.replace({1: block}) == (protect, protect), "what the hidden part wants changes nothing"
    assert union.replace({0x58800002: bypass}) == (protect, protect), "nothing passes in clear that others protect"
    assert union.replace({0x58800001: None, 0x58800002: None}) == (protect, block)
