"""xfrmctl against strongSwan's charon: selectors with protocol and ports, each as initiator and as responder."""

import pytest

from tests.lab.interop import Bench, Initiator, Leg, Tunnel
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.packets import Kind

pytestmark = [pytest.mark.lab, pytest.mark.interop]

both_roles = pytest.mark.parametrize("initiator", ["ours", "charon"])

SERVICE = "[tcp/5201]"
"""Where ``traffic.transfer`` sends to."""


def transfer(bench: Bench) -> bool:
    return traffic.transfer(bench.near_ns, bench.far_ns, bench.far_host[0], size=200_000).complete


def pinged(bench: Bench) -> int:
    return traffic.ping(bench.near_ns, bench.far_host[0], count=2, interval_s=0.05, wait_s=0.2).received


@both_roles
@pytest.mark.parametrize("service", [SERVICE, "[tcp/5200-5203]"])
def test_the_selected_service_is_encrypted_and_nothing_else_is_touched(
    bench: Bench, service: str, initiator: Initiator
) -> None:
    bench.arrange(Tunnel(legs=[Leg(near=bench.near[:1], far=[bench.far[0] + service])]))
    with bench.only_esp():
        child = bench.bring_up(initiator)
        assert transfer(bench)
        bench.check_counters()
    assert child.remote_ts == [bench.far[0] + service]
    bench.no_alarm()
    with Capture(bench.topology.ns("r"), "rb" if bench.near[0].startswith("10.1.2") else "ra") as capture:
        pinged(bench)
    assert capture.report.counts[Kind.PLAINTEXT] and not capture.report.esp, "pings are none of this child's"


@pytest.mark.rfc("7296", "2.9")
@both_roles
@pytest.mark.parametrize("wider", ["ours", "charon"])
def test_protocol_and_port_are_narrowed_to_the_narrower(bench: Bench, wider: str, initiator: Initiator) -> None:
    wide, narrow = [bench.far[0]], [bench.far[0] + SERVICE]
    ours, theirs = (wide, narrow) if wider == "ours" else (narrow, wide)
    bench.arrange(Tunnel(legs=[Leg(near=bench.near[:1], far=ours, charon_far=theirs)]))
    with bench.only_esp():
        child = bench.bring_up(initiator)
        assert transfer(bench)
        if wider == "ours":  # what the peer has narrowed away stays blocked
            assert pinged(bench) == 0
    assert child.remote_ts == narrow


@both_roles
def test_icmp_alone(bench: Bench, initiator: Initiator) -> None:
    """Type and code take the place of ports: requests and replies go through one child."""
    bench.arrange(Tunnel(legs=[Leg(near=[bench.near[0] + "[icmp]"], far=[bench.far[0] + "[icmp]"])]))
    with bench.only_esp(full_size=False):
        bench.bring_up(initiator)
        assert pinged(bench) == 2
        bench.check_counters()


@both_roles
def test_several_selectors_of_one_child(bench: Bench, initiator: Initiator) -> None:
    """Two services over IPv4 and all of IPv6, in one CHILD SA."""
    far = [bench.far[0] + SERVICE, bench.far[0] + "[icmp]", bench.far[1]]
    near = [bench.near[0], bench.near[1]]
    bench.arrange(Tunnel(legs=[Leg(near=near, far=far)]))
    with bench.only_esp():
        child = bench.bring_up(initiator)
        assert transfer(bench) and pinged(bench) == 2
        assert traffic.ping(bench.near_ns, bench.far_host[1], count=2, interval_s=0.05).received == 2
        bench.check_counters()
    assert sorted(child.remote_ts) == sorted(far)
    bench.no_alarm()


@pytest.mark.rfc("7296", "2.9")
def test_the_first_packet_is_named_to_charon(bench: Bench) -> None:
    """And the child that comes of it carries all of its selectors, not the one packet's."""
    leg = Leg(near=bench.near[:1], far=[bench.far[0] + SERVICE], start="trap")
    bench.arrange(Tunnel(legs=[leg]))
    with bench.only_esp():
        assert transfer(bench)
    (child,) = bench.children()
    assert child.remote_ts == [bench.far[0] + SERVICE]


def test_a_range_of_addresses_that_is_no_network(bench: Bench) -> None:
    """Cut into prefixes: the hosts of the range go through the tunnel, the one beside it does not."""
    far = ["10.1.2.7-10.1.2.21"]
    bench.arrange(Tunnel(legs=[Leg(near=bench.near[:1], far=far)]))
    with bench.only_esp(full_size=False):
        child = bench.bring_up("ours")
        assert pinged(bench) == 2
    assert child.remote_ts == far
    policies = bench.ours.namespace.run(["ip", "xfrm", "policy"]).stdout
    for prefix in ("10.1.2.7/32", "10.1.2.8/29", "10.1.2.16/30", "10.1.2.20/31"):
        assert f"dst {prefix}" in policies
    assert policies.count("dir out") == 4
