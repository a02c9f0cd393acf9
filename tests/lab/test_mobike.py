"""MOBIKE (RFC 4555) with real ESP, between our daemons and with charon: addresses change under traffic.

Every move is judged by the same: the CHILD SAs stay what they were, their counters and sequence numbers go on, nothing
crosses the router in clear, and pings are missing for a moment only.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.interop import CHARON, Pinging, eventually
from tests.lab.tunnel import no_alarm
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.peers.swanctl import Child, Connection
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, OUTER_A, OUTER_B, Topology

pytestmark = [pytest.mark.lab, pytest.mark.rfc("4555", "3.5")]

MOON, SUN = "moon.example.org", "sun.example.org"
PSK = "a key for the lab only, 32 bytes or so"
ELSEWHERE = {"ga": "172.16.1.77", "gb": "172.16.2.77"}
OUTER = {"ga": OUTER_A[0], "gb": OUTER_B[0]}
ROUTER = {"ga": "172.16.1.254", "gb": "172.16.2.254"}
LOST_MOST = 40
"""Pings of 20 ms each that a move may cost: 0.8 s, most of it the retransmission of a first message."""


def ours(
    topology: Topology,
    at: str,
    *,
    address: object = "any",
    remote: str | None = None,
    esp: str = "aes128gcm16",
    **ike: object,
) -> Gateway:
    """Our daemon on a gateway; the other end is at its usual address."""
    other = "gb" if at == "ga" else "ga"
    near, far = (INNER_A[0], INNER_B[0]) if at == "ga" else (INNER_B[0], INNER_A[0])
    names = (MOON, SUN) if at == "ga" else (SUN, MOON)
    local = address if isinstance(address, dict) else {"address": address}
    connection = {
        "local": local | {"id": f"fqdn:{names[0]}"},
        "remote": {"address": remote or OUTER[other], "id": f"fqdn:{names[1]}"},
        "auth": {"psk": PSK},
        "ike": {"dpd": "off", "proposals": "aes128gcm16-prfsha256-x25519"} | ike,
        "children": {"net": {"local_ts": near, "remote_ts": far, "esp": esp, "start": "none"}},
    }
    return Gateway(topology.ns(at), json.dumps({"connections": {"net": connection}}))


def charon_side(at: str, *, esp: str = "aes128gcm16", extra: Sequence[str] = ()) -> Connection:
    """The same for charon; it may use any address of its own."""
    near, far = (INNER_A[0], INNER_B[0]) if at == "ga" else (INNER_B[0], INNER_A[0])
    names = (MOON, SUN) if at == "ga" else (SUN, MOON)
    return Connection(
        local="%any", remote=OUTER["gb" if at == "ga" else "ga"], psk=PSK, local_id=names[0], remote_id=names[1],
        children=[Child(local_ts=[near], remote_ts=[far], esp_proposals=[esp])], extra=extra,
    )  # fmt: skip


def readdress(topology: Topology, at: str, old: str, new: str) -> None:
    """Another address, and routes from there; the old one goes a moment later, as when a cable is changed."""
    namespace, gateway = topology.ns(at), ROUTER[at]
    namespace.sysctl({"net.ipv4.conf.all.promote_secondaries": 1})  # the old address is the first of its network
    namespace.batch([f"address add {new}/24 dev wan", f"route replace default via {gateway} src {new}",
                     f"address del {old}/24 dev wan", f"route replace default via {gateway} src {new}"])  # fmt: skip


@contextmanager
def watched(topology: Topology, by: Gateway) -> Iterator[None]:
    """Pings both ways and a capture while the block runs; the SAs are the same before and after."""
    before = by.client.connection("net").ike_sas[0]
    assert len(before.children) == 1
    there, back = Pinging(topology.ns("ha"), HOST_B[0]), Pinging(topology.ns("hb"), HOST_A[0])
    with Capture(topology.ns("r"), "rb") as capture:
        for pinging in (there, back):
            pinging.start()
        time.sleep(0.5)
        yield
        time.sleep(1)
        results = [pinging.stop() for pinging in (there, back)]
    after = by.client.connection("net").ike_sas[0]
    print("lost:", [r.sent - r.received for r in results], "of", [r.sent for r in results])
    assert capture.report.problems(esp_expected=True) == []
    for result in results:
        assert result.sent - result.received <= LOST_MOST
    (one,), (two,) = before.children, after.children
    assert (one.inbound.spi, one.outbound.spi) == (two.inbound.spi, two.outbound.spi)
    for old, new in ((one.inbound, two.inbound), (one.outbound, two.outbound)):
        assert new.packets > old.packets + 20 and new.bytes > old.bytes
        assert not new.missing and new.replay_drops == 0 and new.integrity_failures == 0


def runs(gateway: Gateway, local: str, remote: str) -> bool:
    """Whether IKE, SAs and policies of the gateway are on this path."""
    sa = gateway.client.connection("net").ike_sas[0]
    if (sa.local.rpartition(":")[0], sa.remote.rpartition(":")[0]) != (local, remote):
        return False
    states = gateway.namespace.run(["ip", "xfrm", "state"]).stdout
    policies = gateway.namespace.run(["ip", "xfrm", "policy"]).stdout
    paths = {f"src {local} dst {remote}", f"src {remote} dst {local}"}
    return all(states.count(p) == 1 for p in paths) and all(policies.count(f"tmpl {p}") for p in paths)


def goes_on(topology: Topology, by: Gateway) -> None:
    """Traffic both ways without loss, no finding, and a rekey of each kind on the new path."""
    no_alarm(by)
    assert traffic.ping(topology.ns("ha"), HOST_B[0], interval_s=0.02).loss == 0
    assert by.client.rekey("net", "net").ok
    assert by.client.rekey("net").ok
    assert traffic.ping(topology.ns("hb"), HOST_A[0], interval_s=0.02).loss == 0


@contextmanager
def both_ours(topology: Topology, a: Gateway, b: Gateway) -> Iterator[tuple[Gateway, Gateway]]:
    """Two of our daemons with the tunnel up."""
    with a, b:
        try:
            assert a.client.up("net").ok
            b.wait_up("net")
            yield a, b
        finally:
            print(f"---- A\n{a.log_tail(60)}\n---- B\n{b.log_tail(60)}")


def test_our_initiator_moves_there_and_back(topology: Topology) -> None:
    with both_ours(topology, ours(topology, "ga"), ours(topology, "gb", remote="any")) as (a, b):
        for old, new in ((OUTER["ga"], ELSEWHERE["ga"]), (ELSEWHERE["ga"], OUTER["ga"])):
            with watched(topology, b):
                readdress(topology, "ga", old, new)
                eventually(lambda new=new: runs(a, new, OUTER["gb"]) and runs(b, OUTER["gb"], new), "moved", 10)  # type: ignore[misc]
        goes_on(topology, a)


@pytest.mark.rfc("4555", "3.6")
def test_our_responder_moves(topology: Topology) -> None:
    with both_ours(topology, ours(topology, "ga"), ours(topology, "gb")) as (a, b):
        with watched(topology, a):
            readdress(topology, "gb", OUTER["gb"], ELSEWHERE["gb"])
            path = (OUTER["ga"], ELSEWHERE["gb"])
            eventually(lambda: runs(a, *path) and runs(b, *path[::-1]), "moved", 10)
        goes_on(topology, b)


@pytest.mark.rfc("4555", "3.10")
def test_a_silent_path_is_left(topology: Topology) -> None:
    """The router drops what has one address; only liveness checks can tell."""
    topology.ns("ga").batch([f"address add {ELSEWHERE['ga']}/24 dev wan"])
    haste: dict[str, Any] = {"dpd": "1s", "retransmit": {"first": "0.3s", "factor": 1.2, "tries": 6, "max": "1s"}}
    address = {"address": OUTER["ga"], "alternates": [ELSEWHERE["ga"]]}
    a, b = ours(topology, "ga", address=address, **haste), ours(topology, "gb", remote="any")
    with both_ours(topology, a, b):
        for side in "sd":
            topology.ns("r").run(["iptables", "-w", "-I", "FORWARD", f"-{side}", OUTER["ga"], "-j", "DROP"])
        moved = lambda: runs(a, ELSEWHERE["ga"], OUTER["gb"]) and runs(b, OUTER["gb"], ELSEWHERE["ga"])  # noqa: E731
        eventually(moved, "moved", 15)
        goes_on(topology, a)


@pytest.mark.parametrize("mover", ["ga", "gb"])
@pytest.mark.parametrize("initiator", ["ga", "gb"])
def test_with_charon(topology: Topology, initiator: str, mover: str) -> None:
    """We are gateway A; either end initiates, either end moves."""
    a = ours(topology, "ga", remote=None if initiator == "ga" else "any")
    b = StrongSwan(topology.ns("gb"), [charon_side("gb")], daemon_options=CHARON)
    with a, b:
        try:
            if initiator == "ga":
                assert a.client.up("net").ok
            else:
                b.initiate("net")
                a.wait_up("net")
            with watched(topology, a):
                readdress(topology, mover, OUTER[mover], ELSEWHERE[mover])
                path = tuple(ELSEWHERE[at] if at == mover else OUTER[at] for at in ("ga", "gb"))
                eventually(lambda: runs(a, *path), "moved", 10)
            goes_on(topology, a)
            assert len(b.sas()) == 1
        finally:
            print(f"---- ours\n{a.log_tail(80)}\n---- charon\n{b.log_text()[-6000:]}")
