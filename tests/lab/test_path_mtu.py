"""Path MTU, end to end: a path that becomes narrow in silence is found by probes, and its recovery by ageing.

The router is the narrow place in both directions, and neither sends nor forwards a word about it. Kernel alone: 0 bit/s
for ever (KERNEL-FACTS).
"""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from tests.lab.kernel_gateway import inside
from tests.lab.tunnel import IDS, LAN, MAIN, PSK, brought_up, connection, eventually, lan, no_alarm, text
from xfrmctl.kernel.devices import Devices
from xfrmctl.lab.counters import sample
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.peers.swanctl import Child, Connection
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, OUTER_A, OUTER_B, Topology
from xfrmctl.lab.traffic import Flow
from xfrmctl.model.snapshot import MtuInfo
from xfrmctl.pmtu.overhead import inner_mtu
from xfrmctl.pmtu.spelling import parse_suite

pytestmark = pytest.mark.lab
VIRTUAL_TIME = True

SUITE = "aes256gcm16"
NARROW, WIDE = 1400, 1500
AGING_S = 8
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2


@contextmanager
def gateways(
    topology: Topology, *, outer: int = 4, encap: bool = False, dataplane: str = "policy", **path_mtu: Any
) -> Iterator[tuple[Gateway, Gateway]]:
    """Two of ours with a tunnel between them, over IPv4 or IPv6, the ageing time shortened."""
    which = 0 if outer == 4 else 1
    ends = (OUTER_A[which], OUTER_B[which])
    made = []
    for side, ns in enumerate(("ga", "gb")):
        entry = connection(side, {LAN: lan(side, dataplane, esp=[SUITE])})
        entry["local"]["address"], entry["remote"]["address"] = ends[side], ends[1 - side]
        entry["ike"] = {"dpd": "30s", "encap": "always" if encap else "auto"}
        settings = {"aging": f"{AGING_S}s", **path_mtu}
        made.append(Gateway(topology.ns(ns), text({MAIN: entry}, path_mtu=settings), options=("--log-level", "debug")))
    with brought_up(made[0], made[1]) as both:
        yield both


def sizes(gateway: Gateway) -> MtuInfo:
    (child,) = [c for ike in gateway.client.connection(MAIN).ike_sas for c in ike.children]
    assert child.mtu is not None
    return child.mtu


def believes(gateway: Gateway, outer_mtu: int) -> bool:
    found = sizes(gateway)
    return (found.outer_mtu, found.source) == (outer_mtu, "probe")


def squeeze(topology: Topology, mtu: int) -> None:
    """What the router forwards, either way."""
    for dev in ("ra", "rb"):
        topology.set_link_mtu("r", dev, mtu)


def passes(host: Namespace, address: str, size: int) -> bool:
    """Whether an IP packet of this size with DF is answered."""
    payload = size - (48 if ":" in address else 28)
    done = host.run(["ping", "-n", "-M", "do", "-c", "1", "-W", "2", "-s", str(payload), address], check=False)
    return done.returncode == 0


def wait_for(gateway: Gateway, outer_mtu: int) -> float:
    """Until a probe has told this size; gives the seconds it took."""
    return eventually(f"{gateway.namespace.name} believes in {outer_mtu}", lambda: believes(gateway, outer_mtu))


@contextmanager
def flowing(topology: Topology) -> Iterator[tuple[Flow, Flow]]:
    """TCP both ways while the block runs: as much as there can be, or 8 Mbit/s in virtual time."""
    ha, hb = topology.ns("ha"), topology.ns("hb")
    flows = (Flow(ha, hb, HOST_B[0]).start(), Flow(hb, ha, HOST_A[0], port=5202).start())
    try:
        for flow in flows:
            assert flow.moves(30)
        yield flows
    finally:
        for flow in flows:
            flow.stop()


@contextmanager
def silence(topology: Topology) -> Iterator[None]:
    """The router tells nobody anything about path MTUs."""
    topology.filter_icmp("r")
    try:
        yield
    finally:
        topology.unfilter_icmp("r")


@pytest.mark.parametrize(
    ("outer", "encap", "dataplane"),  # each two of them together in some cell
    [(4, False, "policy"), (4, True, "interface"), (6, False, "interface"), (6, True, "policy")],
)
def test_no_black_hole(topology: Topology, outer: int, encap: bool, dataplane: str) -> None:
    survives(topology, outer, encap, dataplane)


def survives(topology: Topology, outer: int, encap: bool, dataplane: str) -> None:
    """TCP flows, the path becomes narrow in silence, and wide again."""
    wide, narrow = (inner_mtu(size, parse_suite(SUITE), outer, encap) for size in (WIDE, NARROW))
    ha, hb = topology.ns("ha"), topology.ns("hb")
    with gateways(topology, outer=outer, encap=encap, dataplane=dataplane) as ends:
        for gateway in ends:
            wait_for(gateway, WIDE)
        with silence(topology), flowing(topology) as flows:
            squeeze(topology, NARROW)
            began = time.monotonic()
            for flow in flows:
                assert flow.moves(60)
            print(f"TCP resumed after {time.monotonic() - began:.1f} s")
            for gateway in ends:
                wait_for(gateway, NARROW)
                print(f"{gateway.namespace.name}: found after {time.monotonic() - began:.1f} s")
                assert sizes(gateway).inner_mtu == narrow
            for flow in flows:
                assert flow.moves(30)
            assert passes(ha, HOST_B[0], narrow)
            assert passes(hb, HOST_A[0], narrow)
            assert not passes(ha, HOST_B[0], narrow + 1)
            squeeze(topology, WIDE)
            for gateway in ends:
                wait_for(gateway, WIDE)
                assert sizes(gateway).inner_mtu == wide
            for flow in flows:
                assert flow.moves(30)
        for host in (ha, hb):
            host.run(["ip", "route", "flush", "cache"])
            host.run(["ip", "-6", "route", "flush", "cache"])
        assert passes(ha, HOST_B[0], wide)
        assert passes(hb, HOST_A[0], wide)
        assert passes(ha, HOST_B[1], wide)
        no_alarm(*ends)


@pytest.mark.parametrize("narrow_side", [0, 1], ids=["towards B", "towards A"])
def test_a_path_that_is_narrow_in_one_direction_is_found_by_asking_the_other_end(
    topology: Topology, narrow_side: int
) -> None:
    """Small requests come, large answers go: the end in front of the narrow place misses nothing. It is the other one
    that hears nothing any more. It finds its own direction as it was, and has asked the peer to look at its own."""
    address, device = ((OUTER_B[0], "rb"), (OUTER_A[0], "ra"))[narrow_side]
    with gateways(topology, aging="10m", confirm="off") as ends:
        near, far = ends[narrow_side], ends[1 - narrow_side]
        for gateway in ends:
            wait_for(gateway, WIDE)
        with silence(topology), questions(topology, narrow_side) as ask:
            assert ask(), "answers arrive"
            topology.ns("r").batch([f"route add {address}/32 dev {device} mtu lock {NARROW}"])
            assert not ask()
            eventually("the near end knows", lambda: ask() or believes(near, NARROW))
            wait_for(near, NARROW)
            eventually("the far end has been told", lambda: reverse_of(far) == NARROW)
        assert believes(far, WIDE)
        assert reverse_of(near) == WIDE


def reverse_of(gateway: Gateway) -> int | None:
    """What the peer says of its direction."""
    path = sizes(gateway).path
    return path.peer_mtu if path is not None else None


@contextmanager
def questions(topology: Topology, side: int) -> Iterator[Callable[[], bool]]:
    """A host of the other side asks one of this side, which answers in 1420 bytes with DF. Gives whether it came."""
    names, addresses = (("ha", "hb"), (HOST_A[0], HOST_B[0]))
    with (
        topology.ns(names[side]).socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        topology.ns(names[1 - side]).socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        for sock, address in ((server, addresses[side]), (client, addresses[1 - side])):
            sock.bind((address, 7300))
            sock.settimeout(0.4)

        def ask() -> bool:
            client.sendto(b"?", (addresses[side], 7300))
            try:
                _, source = server.recvfrom(2048)
                server.sendto(bytes(1420 - 28), source)
                return bool(client.recv(2048))
            except TimeoutError:
                return False
            except OSError:  # the gateway has told the host what still fits
                return False

        yield ask


def test_it_is_shown_counted_and_kept_over_a_restart(topology: Topology) -> None:
    squeeze(topology, NARROW)
    with silence(topology), gateways(topology, aging="10m") as (a, b):
        for gateway in (a, b):
            wait_for(gateway, NARROW)
        path = sizes(a).path
        assert path is not None
        assert (path.mtu, path.source, path.confidence, path.link_mtu) == (NARROW, "probe", "confirmed", WIDE)
        assert path.carrier.startswith(("udp", "esp"))
        eventually("ESP has confirmed it", lambda: (sizes(a).path or path).carrier.startswith("esp"))
        eventually("the other end says what it believes", lambda: (sizes(a).path or path).peer_mtu == NARROW)
        assert f"{NARROW} outer (probe" in a.ctl_text("show").stdout
        text = a.metrics()
        assert sample(text, "xfrmctl_path_mtu_bytes", {"connection": MAIN}) == NARROW
        labels = f'carrier="esp",confidence="confirmed",connection="{MAIN}",source="probe"'
        assert f"xfrmctl_path_mtu_info{{{labels}" in text
        assert (sample(text, "xfrmctl_path_probes_total", {"connection": MAIN, "outcome": "answered"}) or 0) > 0
        assert (sample(text, "xfrmctl_path_mtu_probes_total", {"outcome": "answered"}) or 0) > 0
        a.stop()
        a.start()
        a.client.up(MAIN)
        a.wait_up(MAIN)
        wait_for(a, NARROW)
        changes = [line for line in a.log_lines() if ": MTU" in line]
        after = changes[[": MTU" in line and "opened" in line for line in changes].index(True, 1) :]
        assert "MTU 1400" in after[0], "what was believed is in force from the first packet on"
        assert not [line for line in after if f"MTU {WIDE}" in line]


def test_only_our_rule_and_routes_and_none_of_them_when_we_are_gone(topology: Topology) -> None:
    ga = topology.ns("ga")
    before = [ga.run(["ip", version, "rule"]).stdout for version in ("-4", "-6")]
    with gateways(topology) as (a, _):
        wait_for(a, WIDE)
        rules = ga.run(["ip", "rule"]).stdout
        assert "158:\tnot from all fwmark 0x58000000 lookup 158" in rules
        route = ga.run(["ip", "route", "show", "table", "158"]).stdout
        assert f"{OUTER_B[0]} via 172.16.1.254 dev wan" in route
        assert f"mtu {WIDE}" in route
        a.kill()
        assert "mtu" in ga.run(["ip", "route", "show", "table", "158"]).stdout, "it outlives the daemon, as the SAs do"
        a.namespace.run([sys.executable, "-m", "xfrmctl", "cleanup"])
        assert [ga.run(["ip", version, "rule"]).stdout for version in ("-4", "-6")] == before
        assert not ga.run(["ip", "route", "show", "table", "158"], check=False).stdout
        a.start()
        a.client.up(MAIN)
        wait_for(a, WIDE)
        a.stop()
        assert [ga.run(["ip", version, "rule"]).stdout for version in ("-4", "-6")] == before


def test_the_uplink_changes_and_the_route_to_the_peer_with_it(topology: Topology) -> None:
    """The way to the peer gets another MTU: the old route in our table must not hold packets on the old way."""
    ga = topology.ns("ga")
    with gateways(topology) as (a, _):
        wait_for(a, WIDE)
        ga.run(["ip", "route", "replace", "default", "via", "172.16.1.254", "src", "172.16.1.1", "mtu", "1300"])
        eventually("the link's new figure is in force", lambda: sizes(a).outer_mtu == 1300)
        eventually("the route follows", lambda: "mtu 1300" in ga.run(["ip", "route", "show", "table", "158"]).stdout)
        ga.run(["ip", "route", "replace", "default", "via", "172.16.1.254"])
        wait_for(a, WIDE)


@pytest.mark.parametrize("outer", [4, 6])
def test_what_the_kernel_has_learned_of_a_path_is_not_taken_for_its_link(topology: Topology, outer: int) -> None:
    """Else a path that has recovered would not be looked at before the kernel forgets, ten minutes later."""
    at = 0 if outer == 4 else 1
    ga, here, there = topology.ns("ga"), ip_address(OUTER_A[at]), ip_address(OUTER_B[at])
    net, dev = ("172.16.2.0/24", "rb") if outer == 4 else ("fd16:2::/64", "rb proto kernel metric 256")
    topology.ns("r").batch([f"route change {net} dev {dev} mtu {NARROW}"])
    with inside(ga):
        devices = Devices()
    with closing(devices):
        for _ in range(2):
            assert not passes(ga, str(there), WIDE)
        assert f"mtu {NARROW}" in ga.run(["ip", "route", "get", str(there)]).stdout
        with inside(ga):
            found = devices.underlay(here, there)
        assert found is not None
        assert (found.device, found.mtu) == ("wan", WIDE)


@pytest.mark.interop
@pytest.mark.parametrize("outer", [4, 6])
def test_strongswan_answers_probes(topology: Topology, outer: int) -> None:
    """Our end finds what its direction carries; the other direction is charon's, which finds nothing out."""
    at = 0 if outer == 4 else 1
    entry = connection(0, {LAN: lan(0, esp=[SUITE])})
    entry["local"]["address"], entry["remote"]["address"] = OUTER_A[at], OUTER_B[at]
    entry["ike"] = {"dpd": "off"}
    peer = Connection(
        local=OUTER_B[at],
        remote=OUTER_A[at],
        psk=PSK,
        proposals=("aes256gcm16-prfsha384-x25519",),
        local_id=IDS[1].removeprefix("fqdn:"),
        remote_id=IDS[0].removeprefix("fqdn:"),
        children=[Child(local_ts=list(INNER_B), remote_ts=list(INNER_A), esp_proposals=(SUITE,))],
    )
    settings = {"aging": f"{AGING_S}s"}
    with (
        StrongSwan(topology.ns("gb"), [peer]) as charon,
        Gateway(topology.ns("ga"), text({MAIN: entry}, path_mtu=settings), options=("--log-level", "debug")) as ours,
    ):
        try:
            assert ours.client.up(MAIN).ok
            wait_for(ours, WIDE)
            name = ours.client.connection(MAIN).ike_sas[0].name
            with silence(topology):
                flow = Flow(topology.ns("ha"), topology.ns("hb"), HOST_B[0]).start()
                try:
                    assert flow.moves(30)
                    topology.set_link_mtu("r", "rb", NARROW)
                    assert flow.moves(60)
                    wait_for(ours, NARROW)
                    topology.set_link_mtu("r", "rb", WIDE)
                    wait_for(ours, WIDE)
                finally:
                    flow.stop()
            assert ours.client.connection(MAIN).ike_sas[0].name == name
            assert len(charon.sas()) == 1
        finally:
            print(f"---- ours\n{ours.log_tail(60)}\n---- charon\n{charon.log_tail(60)}")
