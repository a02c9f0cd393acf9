"""xfrmctl against strongSwan's charon: transport mode between the gateways, each as initiator and as responder."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.interop import Bench, Initiator, Leg, Tunnel, eventually
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.packets import Kind
from xfrmctl.model.iana import Encr, Integ, ProtocolId
from xfrmctl.model.sa import Mode
from xfrmctl.model.suite import Suite
from xfrmctl.pmtu.overhead import inner_mtu

pytestmark = [pytest.mark.lab, pytest.mark.interop]

both_roles = pytest.mark.parametrize("initiator", ["ours", "charon"])
both_families = pytest.mark.parametrize("outer", [4, 6])

HOSTS = Leg(mode="transport", charon_mode="transport")


@contextmanager
def only_esp(bench: Bench, *, esp: bool = True) -> Iterator[Capture]:
    """Nothing but ESP, IKE and what the links say to themselves crosses while the block runs."""
    with bench.only_esp(esp=esp, full_size=False) as capture:
        yield capture
    counts = capture.report.counts
    assert (counts[Kind.ICMP], counts[Kind.OTHER], counts[Kind.FRAGMENT]) == (0, 0, 0), capture.report


def xfrm(bench: Bench, what: str) -> str:
    """What our gateway's kernel holds."""
    return bench.ours.namespace.run(["ip", "xfrm", what]).stdout


@pytest.mark.rfc("7296", "1.3.1")
@both_roles
@both_families
def test_transport_mode(bench: Bench, outer: int, initiator: Initiator) -> None:
    bench.arrange(Tunnel(outer=outer, legs=[HOSTS]))
    at = 0 if outer == 4 else 1
    with only_esp(bench) as capture:
        assert traffic.ping(bench.ours.namespace, bench.peer_seen[at], count=2, wait_s=0.2).received == 0
        child = bench.bring_up(initiator)
        bench.check_traffic_of_the_gateways(outer)
    assert 1440 < capture.report.largest <= 1500
    assert (child.mode, bench.charon.children()[0].mode) == ("transport", "TRANSPORT")
    assert child.local_ts == [f"{bench.our_outer[at]}/{32 if outer == 4 else 128}"]
    assert "mode transport" in xfrm(bench, "state") and "mode tunnel" not in xfrm(bench, "state")
    assert "mode transport" in xfrm(bench, "policy") and "mode tunnel" not in xfrm(bench, "policy")
    (shown,) = bench.shown()["ike_sas"][0]["children"]
    assert shown["mode"] == "transport"
    bench.no_alarm()


@pytest.mark.rfc("7296", "1.3.3")
@both_roles
@both_families
def test_rekeying_keeps_transport_mode(bench: Bench, outer: int, initiator: Initiator) -> None:
    bench.arrange(Tunnel(outer=outer, legs=[HOSTS]))
    with only_esp(bench):
        before = bench.bring_up("charon")
        if initiator == "ours":
            bench.ours.ctl("rekey", bench.name, "net")
        else:
            bench.charon.swanctl("--rekey", "--child", "net")
        eventually(lambda: [c.inbound.spi for c in bench.children()] not in ([], [before.inbound.spi]), "a new SA")
        eventually(lambda: len(bench.children()) == len(bench.charon.children()) == 1, "one SA each")
        bench.check_traffic_of_the_gateways(outer)
    assert bench.children()[0].mode == "transport"
    did = "parsed" if initiator == "ours" else "generating"
    assert re.search(did + r" CREATE_CHILD_SA request \d \[ N\(REKEY_SA\) .*N\(USE_TRANSP\)", bench.charon_log())


@pytest.mark.parametrize("outer", [4, 6])
def test_first_packet_brings_transport_mode_up(bench: Bench, outer: int) -> None:
    bench.arrange(Tunnel(outer=outer, legs=[Leg(mode="transport", charon_mode="transport", start="trap")]))
    with only_esp(bench):
        address = bench.peer_seen[0 if outer == 4 else 1]
        assert traffic.ping(bench.ours.namespace, address, count=10).received > 0
        bench.check_traffic_of_the_gateways(outer)
    assert [c.mode for c in bench.children()] == ["transport"]


@pytest.mark.rfc("7296", "1.3.1")
@both_roles
def test_a_peer_that_makes_a_tunnel_is_refused_or_taken_as_configured(bench: Bench, initiator: Initiator) -> None:
    bench.arrange(Tunnel(legs=[Leg(mode="transport", charon_mode="tunnel")]))
    with only_esp(bench, esp=False):
        bench.fail(initiator)
        found = bench.connection().last_failure
        assert found is not None and "insists on it" in found.text and "transport-or-tunnel" in found.cure
        eventually(lambda: not bench.charon.children(), "charon has deleted what it had made")
        assert bench.children() == []
        assert traffic.ping(bench.ours.namespace, bench.peer_seen[0], count=2, wait_s=0.2).received == 0
    bench.arrange(Tunnel(legs=[Leg(mode="transport-or-tunnel", charon_mode="tunnel")]))
    with only_esp(bench):
        assert bench.bring_up(initiator).mode == "tunnel"
        bench.check_traffic_of_the_gateways(4)
    assert "mode transport" not in xfrm(bench, "policy")


@both_families
@pytest.mark.parametrize("esp", ["aes128gcm16", "aes256-sha512"])
@pytest.mark.parametrize("encap", [False, True])
def test_the_largest_packet_is_what_the_arithmetic_says(bench: Bench, outer: int, esp: str, encap: bool) -> None:
    """A packet of that size passes whole, one byte more does not.

    The kernel names the size to an IPv4 sender. To a raw IPv6 socket it says nothing: ``__xfrm6_output`` looks at the
    size of packets in tunnel mode only, and what is too large then falls by the wayside.
    """
    bench.arrange(Tunnel(outer=outer, encap=encap, legs=[Leg(mode="transport", charon_mode="transport", esp=[esp])]))
    suite = {
        "aes128gcm16": Suite(ProtocolId.ESP, Encr.AES_GCM_16, 128),
        "aes256-sha512": Suite(ProtocolId.ESP, Encr.AES_CBC, 256, Integ.HMAC_SHA2_512_256),
    }[esp]
    size = inner_mtu(1500, suite, outer, encap, Mode.TRANSPORT)
    with bench.only_esp(udp=encap) as capture:
        child = bench.bring_up("ours")
        address = bench.peer_seen[0 if outer == 4 else 1]
        fits = traffic.ping(bench.ours.namespace, address, count=2, packet_bytes=size, df=True)
        too_large = traffic.ping(bench.ours.namespace, address, count=2, packet_bytes=size + 1, df=True, wait_s=0.2)
    assert child.mtu is not None and child.mtu.inner_mtu == size
    told = size if outer == 4 else None
    assert (fits.received, too_large.received, too_large.told_mtu) == (2, 0, told), too_large.text
    assert 1500 - 16 < capture.report.largest <= 1500


# ---- a real NAT box ---------------------------------------------------------------------------------------------


@pytest.mark.rfc("7296", "2.23.1")
@pytest.mark.rfc("3948", "3.1.2")
@both_families
def test_behind_a_nat_box(outer: int) -> None:
    with Bench.running(nat=True) as bench, bench.told():
        bench.arrange(Tunnel(outer=outer, legs=[HOSTS]))
        with bench.only_esp(udp=True):
            child = bench.bring_up("ours")
            bench.check_traffic_of_the_gateways(outer)
        assert (child.mode, bench.connection().ike_sas[0].nat_local) == ("transport", True)
        bench.no_alarm()


@pytest.mark.rfc("7296", "2.23.1")
@both_families
def test_charon_behind_a_nat_box(outer: int) -> None:
    with Bench.running(nat=True, ours_in="gb") as bench, bench.told():
        bench.arrange(Tunnel(outer=outer, legs=[HOSTS]))
        at = 0 if outer == 4 else 1
        with bench.only_esp(udp=True):
            child = bench.bring_up("charon")
            bench.check_traffic_of_the_gateways(outer)
        assert (child.mode, bench.connection().ike_sas[0].nat_remote) == ("transport", True)
        assert child.remote_ts == [f"{bench.peer_seen[at]}/{32 if outer == 4 else 128}"]
        assert bench.peer_outer[at] != bench.peer_seen[at]
        bench.no_alarm()
