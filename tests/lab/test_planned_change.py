"""MSS, inner routes, devices and routes to peers follow a path as one change: no host hears of too large a size."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.lab.kernel_gateway import GCM, Gateway, gateways, inside
from tests.lab.test_icmp_inner import Ears, listening, send_large
from tests.lab.tunnel import MAIN, connection, eventually, lan, no_alarm, text
from xfrmctl.kernel.desired import Clamp, Desired, Route
from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink.socket import MulticastSocket
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.lab import gateway as daemons
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.topology import HOST_B, INNER_A, OUTER_B, Topology
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.sa import DataPlane
from xfrmctl.pmtu.overhead import inner_mtu

pytestmark = pytest.mark.lab

IPV4_AND_IPV6_ROUTES = (7, 11)
LOW, HIGH, LINK = 1360, 1440, 1500
SECOND = ("10.1.2.11", "fd10:2::11")
"""Host B as those know it who send large packets: what host A learns of it must not lower its SYNs to HOST_B."""


def inner_of(outer: int) -> int:
    return inner_mtu(outer, GCM, 4, encap=False)


def sized(gateway: Gateway, outer: int) -> Desired:
    """The tunnel over a path that takes so much."""
    inner = inner_of(outer)
    base = gateway.desired(mtu=inner)
    peer = Route(ip_network(OUTER_B[0]), "wan", 58, outer, table=PEER_TABLE, via=ip_address("172.16.1.254"))
    routes = {replace(r, mtu=inner) if r.device else r for r in base.routes} | {peer}
    clamps = {Clamp(mine, theirs, inner - (40 if mine.version == 4 else 60)) for mine, theirs in gateway.pairs}
    return Desired(base.policies, base.interfaces, frozenset(routes), frozenset(clamps))


def syn_mss(client: Namespace, server: Namespace, address: str) -> int:
    """The MSS of a SYN as it arrives."""
    v6 = ":" in address
    family = socket.AF_INET6 if v6 else socket.AF_INET
    with (
        server.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as ear,
        client.socket(family, socket.SOCK_STREAM) as mouth,
    ):
        mouth.setblocking(False)
        mouth.connect_ex((address, 9))
        assert select.select([ear], [], [], 5)[0], "no SYN has come"
        segment = ear.recv(256)[0 if v6 else 20 :]
    assert segment[20:22] == b"\x02\x04", "Linux begins with the MSS"
    return int.from_bytes(segment[22:24])


def told(host: Namespace, ears: Ears, address: str, size: int = LINK) -> list[int]:
    """The MTU that an error says about a packet of this size; without one larger than any tunnel here."""
    send_large(host, address, size)
    return [error.mtu for error in ears.heard(wait_s=0.05)]


@contextmanager
def over_and_over(gateway: Gateway, states: tuple[Desired, Desired]) -> Iterator[list[str]]:
    """Changes the gateway between the two while the block runs; gives what is in force, "up" or "down" meanwhile."""
    phase, stop = ["low"], threading.Event()

    def work() -> None:
        with inside(gateway.ns):
            while not stop.is_set():
                for way, before, after, then in (("up", *states, "high"), ("down", *states[::-1], "low")):
                    phase.append(way)
                    assert gateway.kernel.change(before, after).problems == ()
                    phase.append(then)
                    stop.wait(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield phase
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("firewall", [FirewallBackend.IPTABLES, FirewallBackend.NFTABLES])
@pytest.mark.parametrize("plane", list(DataPlane))
@pytest.mark.parametrize("which", [0, 1], ids=["ipv4", "ipv6"])
def test_no_size_is_larger_than_the_path_at_any_moment(
    topology: Topology, plane: DataPlane, which: int, firewall: FirewallBackend
) -> None:
    """The link takes more than the path ever does, so a moment without one of the objects would show at once."""
    ha, hb = topology.ns("ha"), topology.ns("hb")
    hb.batch([f"address add {SECOND[0]}/24 dev eth0", f"address add {SECOND[1]}/64 dev eth0 nodad"])
    header = 60 if which else 40
    sizes = {"low": inner_of(LOW), "high": inner_of(HIGH)}
    with gateways(topology, plane=plane, firewall=firewall) as (ga, gb), listening(ha) as ears:
        gb.converge(gb.desired())
        gb.kernel.install(gb.sas())
        low, high = sized(ga, LOW), sized(ga, HIGH)
        ga.converge(low)
        ga.kernel.install(ga.sas())
        seen: list[tuple[int, str, int]] = []
        with over_and_over(ga, (low, high)) as phase:
            while len(phase) < 24:
                begin = len(phase)
                seen.append((begin, "syn", syn_mss(ha, hb, HOST_B[which]) + header))
                seen += [(begin, "told", mtu) for mtu in told(ha, ears, SECOND[which])]
        assert {size for _, _, size in seen} == set(sizes.values()), "both, and nothing else"
        assert {kind for _, kind, _ in seen} == {"syn", "told"}
        for at in range(1, len(phase)):
            during = [(kind, size) for begin, kind, size in seen if begin == at + 1]
            if phase[at] == "low":  # or the change upwards has begun meanwhile: the MSS goes up last
                assert ("syn", sizes["high"]) not in during or phase[at + 1] == "up"
            elif phase[at] == "up" and ("syn", sizes["high"]) in during:
                after = during[during.index(("syn", sizes["high"])) :]
                assert ("told", sizes["low"]) not in after, "whoever sends such segments must be told no less"
            elif phase[at] == "down" and ("told", sizes["low"]) in during:
                after = during[during.index(("told", sizes["low"])) :]
                assert ("syn", sizes["high"]) not in after, "the MSS goes down first"


@pytest.mark.parametrize("plane", list(DataPlane))
def test_raising_forgets_what_the_kernel_has_learned_and_takes_no_route_away(
    topology: Topology, plane: DataPlane
) -> None:
    """KERNEL-FACTS 8b: exceptions below a route, of the peer or behind the tunnel, else hold it down for ever."""
    ha, fits = topology.ns("ha"), inner_of(HIGH)
    with gateways(topology, plane=plane) as (ga, gb), listening(ha) as ears:
        gb.converge(gb.desired())
        gb.kernel.install(gb.sas())
        ga.converge(sized(ga, HIGH))
        ga.kernel.install(ga.sas())
        topology.set_link_mtu("r", "rb", LOW)
        for address in HOST_B:
            told(ha, ears, address, fits)  # the router tells the gateway, the gateway from then on the host
            assert told(ha, ears, address, fits) == [inner_of(LOW)]
        topology.set_link_mtu("r", "rb", LINK)
        assert told(ha, ears, HOST_B[1], fits) == [inner_of(LOW)], "it holds on to it"
        noted = Desired(routes=frozenset(replace(r, mtu=r.mtu - 1) for r in sized(ga, HIGH).routes if r.mtu))
        true = Desired(routes=frozenset(r for r in sized(ga, HIGH).routes if r.mtu))
        with inside(ga.ns):
            watch = MulticastSocket(c.NETLINK_ROUTE, IPV4_AND_IPV6_ROUTES)
            assert ga.kernel.change(noted, true).problems == ()
            messages, _ = watch.read()
            watch.close()
        for address in HOST_B:
            assert told(ha, ears, address, fits) == []
            assert told(ha, ears, address) == [fits]
        assert {kind for kind, _ in messages} == {c.RTM_NEWROUTE}


def test_tunnels_that_share_an_interface_have_each_their_own_size(topology: Topology) -> None:
    """Two suites behind one device; lowered and raised with the uplink, nothing of the lower sizes stays behind."""
    ha, hb, ga = topology.ns("ha"), topology.ns("hb"), topology.ns("ga")
    hosts = [("10.1.2.10", "10.1.2.130"), ("fd10:2::10", "fd10:2::8000:0:0:130")]
    hb.batch(["address add 10.1.2.130/24 dev eth0", "address add fd10:2::8000:0:0:130/64 dev eth0 nodad"])
    halves = [["10.1.2.0/25", "fd10:2::/65"], ["10.1.2.128/25", "fd10:2::8000:0:0:0/65"]]
    suites = ["aes128gcm16", "aes256-sha512"]

    def children(side: int) -> dict[str, object]:
        made: dict[str, object] = {}
        for name, half, suite in zip(("one", "two"), halves, suites, strict=True):
            nets = (list(INNER_A), half)
            more = {"interface": "vpn0", "esp": [suite]}
            made[name] = lan(side, "interface", local_ts=nets[side], remote_ts=nets[1 - side], **more)
        return made

    def sizes() -> list[list[int]]:
        return [told(ha, ears, address) for pair in hosts for address in pair]

    with (
        daemons.Gateway(ga, text({MAIN: connection(0, children(0))})) as a,
        daemons.Gateway(topology.ns("gb"), text({MAIN: connection(1, children(1))})) as b,
        listening(ha) as ears,
    ):
        a.client.up(MAIN)
        for gateway in (a, b):
            gateway.wait_up(MAIN)
        wide, narrow = [[1446], [1422]] * 2, [[1346], [1310]] * 2
        eventually("each its own", lambda: sizes() == wide)
        for turn in range(2):
            ga.run(["ip", "route", "replace", "default", "via", "172.16.1.254", "mtu", "1400"])
            eventually("lowered", lambda: sizes() == narrow)
            ga.run(["ip", "route", "replace", "default", "via", "172.16.1.254"])
            eventually(f"raised, turn {turn}", lambda: sizes() == wide)
        no_alarm(a, b)
