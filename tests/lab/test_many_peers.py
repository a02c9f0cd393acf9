"""One connection of ours that serves many peers at once: behind one NAT, a charon, and whoever comes back elsewhere."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from tests.lab.tunnel import eventually, no_alarm
from xfrmctl.lab import traffic
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.namespace import Namespace, batch
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.peers.swanctl import Child, Connection
from xfrmctl.lab.topology import HOST_B, INNER_B, OUTER_A, OUTER_B, Topology

pytestmark = pytest.mark.lab

PSK = "a key for the lab only, 32 bytes or so"
ESP = "aes128gcm16"


def hub_config(dataplane: str) -> str:
    lan = {"local_ts": INNER_B[0], "remote_ts": "10.64.0.0/10", "esp": ESP, "dataplane": dataplane}
    connection = {
        "local": {"address": OUTER_B[0], "id": "fqdn:hub.example.org"},
        "remote": {"address": "any", "id": "fqdn:*.spokes.example.org"},
        "auth": {"psk": PSK},
        "children": {"lan": lan},
    }
    return json.dumps({"gateway": {"metrics": "127.0.0.1:9877"}, "connections": {"spokes": connection}})


def spoke_config(number: int, address: str) -> str:
    lan = {"local_ts": f"10.64.{number}.0/24", "remote_ts": INNER_B[0], "esp": ESP, "start": "none"}
    connection = {
        "local": {"address": address, "id": f"fqdn:s{number}.spokes.example.org"},
        "remote": {"address": OUTER_B[0], "id": "fqdn:hub.example.org"},
        "auth": {"psk": PSK},
        "retry": {"tries": 1},
        "children": {"lan": lan},
    }
    return json.dumps({"connections": {"hub": connection}})


@contextmanager
def place(topology: Topology, name: str, router: str, number: int, inner: int) -> Iterator[Namespace]:
    """A namespace on a link of its own to ``router``; its inner address is on its loopback device."""
    namespace = Namespace(topology.prefix + name)
    network = "192.168" if router == "nat" else "172.16"
    namespace.add()
    try:
        batch([f"link add wan netns {namespace.name} type veth peer name s{number} netns {topology.prefix}{router}"])
        topology.ns(router).batch([f"link set s{number} up", f"address add {network}.{number}.254/24 dev s{number}"])
        namespace.batch(
            [
                "link set lo up",
                f"address add 10.64.{inner}.1/32 dev lo",
                "link set wan up",
                f"address add {network}.{number}.1/24 dev wan",
                f"route add default via {network}.{number}.254 src 10.64.{inner}.1",
                f"route add {OUTER_B[0]}/32 via {network}.{number}.254 src {network}.{number}.1",
            ]
        )
        yield namespace
    finally:
        namespace.remove()


@contextmanager
def hub(topology: Topology, dataplane: str) -> Iterator[Gateway]:
    with Gateway(topology.ns("gb"), hub_config(dataplane)) as made:
        try:
            yield made
        finally:
            print(f"---- hub\n{made.log_tail(60)}")


def reached(topology: Topology, number: int) -> bool:
    return traffic.ping(topology.ns("hb"), f"10.64.{number}.1", count=3, interval_s=0.05, wait_s=1).loss == 0


def reqids(gateway: Gateway) -> dict[str, int]:
    """reqid by peer, as ``show --json`` has them."""
    (connection,) = gateway.status().connections
    return {child.peer: child.reqid for ike in connection.ike_sas for child in ike.children}


@pytest.mark.parametrize("dataplane", ["policy", "interface"])
def test_three_peers_at_once_two_of_them_behind_one_nat(nat_topology: Topology, dataplane: str) -> None:
    topology = nat_topology
    with ExitStack() as stack:
        server = stack.enter_context(hub(topology, dataplane))
        hidden = [stack.enter_context(place(topology, f"s{n}", "nat", 20 + n, n)) for n in (1, 2)]
        for number, namespace in zip((1, 2), hidden, strict=True):
            one = stack.enter_context(Gateway(namespace, spoke_config(number, f"192.168.{20 + number}.1")))
            assert one.client.up("hub").ok, server.log_tail()
        foreign = stack.enter_context(place(topology, "s3", "r", 23, 3))
        charon = Connection(
            name="hub",
            local="172.16.23.1",
            remote=OUTER_B[0],
            psk=PSK,
            local_id="s3.spokes.example.org",
            remote_id="hub.example.org",
            children=[Child(name="lan", local_ts=["10.64.3.0/24"], remote_ts=[INNER_B[0]], esp_proposals=[ESP])],
        )
        stack.enter_context(StrongSwan(foreign, [charon])).initiate("lan")
        eventually("three peers", lambda: server.status().connections[0].peers == 3)
        for number in (1, 2, 3, 1):
            assert reached(topology, number), f"10.64.{number}.1\n{server.log_tail(40)}"
        numbers = reqids(server)
        assert len(set(numbers.values())) == len(numbers) == 3
        (connection,) = server.status().connections
        seen = {ip_address(ike.remote.rsplit(":", 1)[0]) for ike in connection.ike_sas}
        assert seen == {ip_address(OUTER_A[0]), ip_address("172.16.23.1")}
        counted = {c.peer: (c.inbound.packets, c.outbound.packets) for i in connection.ike_sas for c in i.children}
        assert counted == {
            "fqdn:s1.spokes.example.org": (6, 6),
            "fqdn:s2.spokes.example.org": (3, 3),
            "fqdn:s3.spokes.example.org": (3, 3),
        }
        text = server.metrics()
        assert 'xfrmctl_connection_peers{connection="spokes"} 3.0' in text
        for peer, reqid in numbers.items():
            labels = f'child="lan",connection="spokes",direction="in",peer="{peer}",reqid="{reqid:#x}"'
            assert f"xfrmctl_peer_packets_total{{{labels}}} {counted[peer][0]}.0" in text
        assert 'xfrmctl_child_packets_total{child="lan",connection="spokes",direction="in"} 12.0' in text
        for peer in counted:
            assert peer in server.ctl_text("show", "spokes").stdout
        no_alarm(server)


def test_a_second_peer_is_refused_what_the_first_has_and_whoever_comes_back_elsewhere_has_it_again(
    topology: Topology,
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(hub(topology, "policy"))
        first, thief = (stack.enter_context(place(topology, f"s{n}", "r", 20 + n, 1)) for n in (1, 2))
        one = stack.enter_context(Gateway(first, spoke_config(1, "172.16.21.1")))
        assert one.client.up("hub").ok
        assert reached(topology, 1)
        text = spoke_config(1, "172.16.22.1").replace("fqdn:s1.", "fqdn:s2.")
        two = stack.enter_context(Gateway(thief, text))
        refused = two.client.up("hub")
        assert not refused.ok and refused.failure is not None and refused.failure.notify == "TS_UNACCEPTABLE"
        failure = server.status().connections[0].last_failure
        assert failure is not None and failure.code == "selectors_taken" and failure.cure
        assert "fqdn:s2.spokes.example.org asks for selectors that fqdn:s1.spokes.example.org has" in failure.text
        assert reached(topology, 1), "the first one keeps its packets"
        before = reqids(server)["fqdn:s1.spokes.example.org"]
        one.kill()
        two.stop()
        again = stack.enter_context(Gateway(thief, spoke_config(1, "172.16.22.1")))
        assert again.client.up("hub").ok
        assert reached(topology, 1), "the same identity at another address has replaced itself"
        assert reqids(server) == {"fqdn:s1.spokes.example.org": before}
        assert traffic.ping(thief, HOST_B[0]).loss == 0
