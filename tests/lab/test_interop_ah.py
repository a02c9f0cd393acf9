"""AH between xfrmctl and strongSwan's charon, each as initiator and as responder, and its arithmetic in the kernel."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.interop import Bench, Initiator, Leg, Tunnel, eventually
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.packets import Kind
from xfrmctl.model.sa import Mode
from xfrmctl.pmtu.overhead import inner_mtu
from xfrmctl.pmtu.spelling import parse_suite

pytestmark = [pytest.mark.lab, pytest.mark.interop]

both_roles = pytest.mark.parametrize("initiator", ["ours", "charon"])
both_families = pytest.mark.parametrize("outer", [4, 6])


@contextmanager
def only_ah(bench: Bench) -> Iterator[Capture]:
    """Every packet that crosses while the block runs is AH, IKE, or the link's own."""
    with bench.only_esp(esp=False) as capture:
        yield capture
    counts = capture.report.counts
    assert counts[Kind.AH] and not counts[Kind.ESP] and not counts[Kind.UDP_ESP], counts
    assert (counts[Kind.ICMP], counts[Kind.OTHER]) == (0, 0), capture.report.others


@both_roles
@pytest.mark.parametrize(
    ("outer", "ah"), [(4, "sha256"), (4, "sha384-esn"), (4, "sha512"), (6, "sha256-esn"), (6, "sha384"), (6, "sha512")]
)
def test_ah_in_tunnel_mode(bench: Bench, outer: int, ah: str, initiator: Initiator) -> None:
    bench.arrange(Tunnel(outer=outer, legs=[Leg(ah=[ah])]))
    with only_ah(bench):
        child = bench.bring_up(initiator)
        bench.check_traffic()
    assert child.suite == f"ah-{ah}" if "esn" in ah else f"ah-{ah}-noesn"
    assert "proto ah" in bench.ours.namespace.run(["ip", "xfrm", "state"]).stdout
    bench.no_alarm()


@both_roles
@both_families
def test_ah_in_transport_mode_and_its_rekeying(bench: Bench, outer: int, initiator: Initiator) -> None:
    leg = Leg(ah=["sha256-x25519"], mode="transport", charon_mode="transport")
    bench.arrange(Tunnel(outer=outer, legs=[leg]))
    with only_ah(bench):
        before = bench.bring_up(initiator)
        if initiator == "ours":
            bench.ours.ctl("rekey", bench.name, "net")
        else:
            bench.charon.swanctl("--rekey", "--child", "net")
        eventually(lambda: [c.inbound.spi for c in bench.children()] not in ([], [before.inbound.spi]), "a new SA")
        eventually(lambda: len(bench.children()) == len(bench.charon.children()) == 1, "one SA each")
        bench.check_traffic_of_the_gateways(outer)
    assert bench.children()[0].suite == "ah-sha256-x25519-noesn"
    bench.no_alarm()


@both_families
@pytest.mark.parametrize("ah", ["sha256", "sha384", "sha512"])
def test_the_largest_packet_of_a_tunnel_is_what_the_arithmetic_says(bench: Bench, outer: int, ah: str) -> None:
    bench.arrange(Tunnel(outer=outer, legs=[Leg(ah=[ah])]))
    size = inner_mtu(1500, parse_suite(f"ah-{ah}"), outer, False)
    bench.near_ns.batch(["route flush cache"])  # what the tunnel before has told the host
    with only_ah(bench) as capture:
        child = bench.bring_up("ours")
        fits = traffic.ping(bench.near_ns, bench.far_host[0], count=2, packet_bytes=size, df=True)
        too_large = traffic.ping(bench.near_ns, bench.far_host[0], count=2, packet_bytes=size + 1, df=True, wait_s=0.2)
    assert child.mtu is not None and child.mtu.inner_mtu == size
    assert (fits.received, too_large.received, too_large.told_mtu) == (2, 0, size)
    assert capture.report.largest == 1500


def test_the_largest_packet_of_transport_mode_is_what_the_arithmetic_says(bench: Bench) -> None:
    bench.arrange(Tunnel(legs=[Leg(ah=["sha256"], mode="transport", charon_mode="transport")]))
    size = inner_mtu(1500, parse_suite("ah-sha256"), 4, False, Mode.TRANSPORT)
    with only_ah(bench) as capture:
        bench.bring_up("ours")
        fits = traffic.ping(bench.ours.namespace, bench.peer_seen[0], count=2, packet_bytes=size, df=True)
        too_large = traffic.ping(
            bench.ours.namespace, bench.peer_seen[0], count=2, packet_bytes=size + 1, df=True, wait_s=0.2
        )
    assert (fits.received, too_large.received, too_large.told_mtu) == (2, 0, size)
    assert capture.report.largest == 1500


@pytest.mark.rfc("4302", "3.3.3.1")
@both_roles
def test_ah_through_a_nat_is_refused(bench: Bench, initiator: Initiator) -> None:
    """charon says that there is a NAT, and we believe it."""
    bench.arrange(Tunnel(charon_encap=True, legs=[Leg(ah=["sha256"])]))
    bench.fail(initiator)
    found = bench.connection().last_failure
    assert found is not None and "is AH, and there is a NAT" in found.text and "write esp:" in found.cure
    assert bench.children() == []
