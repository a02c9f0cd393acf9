"""BYPASS and DISCARD beside a tunnel, by what the router sees: who comes first, and that it outlives the daemon."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.tunnel import LAN, MAIN, connection, lan, no_alarm
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.packets import Kind
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, Topology

pytestmark = [pytest.mark.lab, pytest.mark.rfc("4301", "4.4.1")]


def text(side: int, policies: dict[str, Any]) -> str:
    nets = (INNER_A[0], INNER_B[0])
    child = lan(side, local_ts=nets[side], remote_ts=nets[1 - side], start="none")
    return json.dumps({"policies": policies, "connections": {MAIN: connection(side, {LAN: child})}})


def mirrored(action: str, here: str, there: str, **more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A policy as A and as B write it."""
    one = {"action": action, "local_ts": here, "remote_ts": there, **more}
    return one, one | {"local_ts": there, "remote_ts": here}


@pytest.fixture
def gateways(topology: Topology) -> Iterator[tuple[Gateway, Gateway]]:
    with Gateway(topology.ns("ga"), text(0, {})) as a, Gateway(topology.ns("gb"), text(1, {})) as b:
        # What passes in clear must find its way: the router of the topology knows no inner address otherwise.
        topology.ns("r").batch([f"route add {INNER_A[0]} via 172.16.1.1", f"route add {INNER_B[0]} via 172.16.2.1"])
        yield a, b


def what_crosses(topology: Topology) -> tuple[bool, bool, bool]:
    """Pings from host A to host B: whether they were answered, and whether ESP, or they themselves, were seen."""
    with Capture(topology.ns("r"), "rb") as capture:
        done = traffic.ping(topology.ns("ha"), HOST_B[0], count=2, interval_s=0.1, wait_s=1)
    counts = capture.report.counts
    return done.loss == 0, counts[Kind.ESP] > 0, counts[Kind.PLAINTEXT] > 0


PROTECTED, IN_CLEAR, DROPPED = (True, True, False), (True, False, True), (False, False, False)


def test_policies_among_the_children(topology: Topology, gateways: tuple[Gateway, Gateway]) -> None:
    assert gateways[0].client.up(MAIN).ok
    assert what_crosses(topology) == PROTECTED
    no_alarm(*gateways)
    hosts = f"{HOST_A[0]}/32", f"{HOST_B[0]}/32"
    everything = "10.0.0.0/8", "10.0.0.0/8"
    for policies, expected in (
        ({"p": mirrored("discard", *everything, precedence="last")}, PROTECTED),
        ({"p": mirrored("bypass", *hosts)}, IN_CLEAR),
        ({"p": mirrored("discard", *hosts)}, DROPPED),
        ({"p": mirrored("bypass", *hosts), "q": mirrored("discard", *everything, precedence="first")}, DROPPED),
        ({"p": mirrored("bypass", *everything, precedence="last")}, PROTECTED),
        (
            {
                "p": mirrored("bypass", *hosts),
                "q": mirrored("discard", *everything, precedence="last"),
            },
            IN_CLEAR,
        ),
        ({"p": mirrored("bypass", *everything, precedence="first")}, IN_CLEAR),
    ):
        for side, gateway in enumerate(gateways):
            gateway.configure(text(side, {name: both[side] for name, both in policies.items()}))
            assert gateway.client.reload().ok
        assert what_crosses(topology) == expected, policies
        assert gateways[0].status().connections[0].state == "up", "no SA is touched"


def test_a_policy_outlives_the_daemon_until_cleanup(topology: Topology, gateways: tuple[Gateway, Gateway]) -> None:
    hosts = f"{HOST_A[0]}/32", f"{HOST_B[0]}/32"
    for side, gateway in enumerate(gateways):
        gateway.configure(text(side, {"p": mirrored("bypass", *hosts)[side]}))
        assert gateway.client.reload().ok
    shown = gateways[0].status().policies
    assert [(p.name, p.action, p.precedence) for p in shown] == [("p", "bypass", "specific")]
    assert "p: bypass 10.1.1.10/32 to 10.1.2.10/32" in gateways[0].ctl_text("show").stdout
    for gateway in gateways:
        gateway.stop()
    assert what_crosses(topology) == IN_CLEAR
    for gateway in gateways:
        gateway.ctl_text("cleanup")
    assert "10.1.2.10" not in topology.ns("ga").run(["ip", "xfrm", "policy"]).stdout
