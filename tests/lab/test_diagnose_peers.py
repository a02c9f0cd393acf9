"""Faults that take several peers, or a peer of another make: whose SPIs, whose addresses, whose SAs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.lab.test_many_peers import ESP, PSK, hub, place, reached, spoke_config
from tests.lab.tunnel import eventually
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.peers.swanctl import Child, Connection
from xfrmctl.lab.topology import INNER_B, OUTER_B, Topology

pytestmark = pytest.mark.lab

ONE_SPI = ("spi_min = 0xc0001234", "spi_max = 0xc0001234")


def spoke(number: int, address: str) -> Connection:
    """What :func:`spoke_config` is for a gateway of ours, and a second child, which the hub narrows to the first."""
    mine = [f"10.64.{number}.0/24"]
    return Connection(
        name="hub",
        local=address,
        remote=OUTER_B[0],
        psk=PSK,
        local_id=f"s{number}.spokes.example.org",
        remote_id="hub.example.org",
        children=[
            Child(name=name, local_ts=mine, remote_ts=[theirs], esp_proposals=[ESP])
            for name, theirs in (("lan", INNER_B[0]), ("wide", "10.1.0.0/16"))
        ],
    )


@contextmanager
def charon(topology: Topology, number: int, router: str, options: tuple[str, ...] = ()) -> Iterator[StrongSwan]:
    """One on a link of its own to ``router``."""
    address = f"{'192.168' if router == 'nat' else '172.16'}.{20 + number}.1"
    with (
        place(topology, f"s{number}", router, 20 + number, number) as namespace,
        StrongSwan(namespace, [spoke(number, address)], daemon_options=options) as made,
    ):
        yield made


def test_peers_behind_one_nat_that_want_the_same_addresses(nat_topology: Topology) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(hub(nat_topology, "policy"))
        first, second = (stack.enter_context(place(nat_topology, f"s{n}", "nat", 20 + n, n)) for n in (1, 2))
        one = stack.enter_context(Gateway(first, spoke_config(1, "192.168.21.1")))
        assert one.client.up("hub").ok
        eventually("packets cross", lambda: reached(nat_topology, 1))
        assert server.client.diagnose(None, 0.5).findings == []
        greedy = spoke_config(1, "192.168.22.1").replace("fqdn:s1.", "fqdn:s2.")
        two = stack.enter_context(Gateway(second, greedy))
        assert not two.client.up("hub").ok
        (found,) = server.client.diagnose(None, 0).findings
        assert found.id == "selectors-taken" and "fqdn:s2.spokes.example.org asks for" in found.symptom
        # these namespaces are made without forwarding, which is found as well
        assert [f.id for f in two.client.diagnose(None, 0).findings] == ["selectors-differ", "forwarding-off"]


def test_peers_behind_one_nat_that_choose_the_same_spi(nat_topology: Topology) -> None:
    """Two charons that may take one number only: the second is refused while the first has it."""
    with ExitStack() as stack:
        server = stack.enter_context(hub(nat_topology, "policy"))
        one, two = (stack.enter_context(charon(nat_topology, n, "nat", ONE_SPI)) for n in (1, 2))
        one.initiate("lan")
        eventually("packets cross", lambda: reached(nat_topology, 1))
        assert server.client.diagnose(None, 0.5).findings == []
        assert "TEMP_FAIL" in two.initiate("lan", check=False)
        (found,) = server.client.diagnose(None, 0).findings
        assert found.id == "spi-collision" and "SPI 0xc0001234" in found.symptom
        assert reached(nat_topology, 1), "the first one keeps its packets"


def test_a_peer_that_makes_the_same_sas_again(topology: Topology) -> None:
    """Two children of it come to the same networks: after a while that is no rekeying any more."""
    with ExitStack() as stack:
        server = stack.enter_context(hub(topology, "policy"))
        peer = stack.enter_context(charon(topology, 1, "r"))
        for name in ("lan", "wide"):
            peer.initiate(name)
        eventually("packets cross", lambda: reached(topology, 1))
        assert server.client.diagnose(None, 0.5).findings == [], "as if they were being rekeyed"
        spis = [sa.inbound.spi for ike in server.status().connections[0].ike_sas for sa in ike.children]
        assert len(spis) == 2
        eventually("the finding", lambda: server.client.diagnose(None, 0).findings, 20, 1)
        (found,) = server.client.diagnose(None, 0).findings
        assert found.id == "duplicate-sas"
        assert all(any(spi in text for text in found.evidence) for spi in spis), found.evidence
