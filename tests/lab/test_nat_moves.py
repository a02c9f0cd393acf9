"""The NAT before a peer forgets its mapping: both our daemons, real ESP in UDP, no new negotiation.

Without MOBIKE whoever is not behind the NAT follows (RFC 7296 2.23), with it whoever is tells (RFC 4555 3.8).
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from xfrmctl.lab import traffic
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, OUTER_A, OUTER_B, PRIVATE_A, Topology

pytestmark = pytest.mark.lab
VIRTUAL_TIME = True

ELSEWHERE = "172.16.1.77"


def side(local: str, remote: str, near: str, far: str, *, dpd: str, mobike: bool) -> str:
    names = ("moon", "sun") if local == PRIVATE_A[0] else ("sun", "moon")
    connection = {
        "local": {"address": local, "id": f"fqdn:{names[0]}.example.org"},
        "remote": {"address": remote, "id": f"fqdn:{names[1]}.example.org"},
        "auth": {"psk": "a key for the lab only, 32 bytes or so"},
        "ike": {"dpd": dpd, "keepalive": "600s", "mobike": mobike},
        "children": {"net": {"local_ts": near, "remote_ts": far, "start": "none"}},
    }
    return json.dumps({"connections": {"net": connection}})


@contextmanager
def ends(topology: Topology, *, dpd: str, mobike: bool) -> Iterator[tuple[Gateway, Gateway]]:
    """Gateway A behind the NAT box, and B, which takes it from anywhere; the tunnel is up."""
    with (
        Gateway(
            topology.ns("ga"), side(PRIVATE_A[0], OUTER_B[0], INNER_A[0], INNER_B[0], dpd=dpd, mobike=mobike)
        ) as ours,
        Gateway(topology.ns("gb"), side(OUTER_B[0], "any", INNER_B[0], INNER_A[0], dpd="off", mobike=mobike)) as theirs,
    ):
        try:
            assert ours.client.up("net").ok
            theirs.wait_up("net")
            yield ours, theirs
        finally:
            print(f"---- ours\n{ours.log_tail()}\n---- theirs\n{theirs.log_tail()}")


def forget_mapping(topology: Topology, outside: str) -> None:
    """From now on the box translates to this address and to ports that it has never used."""
    box = topology.ns("nat")
    if outside == ELSEWHERE:
        box.run(["ip", "address", "add", f"{ELSEWHERE}/24", "dev", "out"])
    box.run(["iptables", "-w", "-t", "nat", "-F", "POSTROUTING"])
    box.run(
        [
            "iptables",
            "-w",
            "-t",
            "nat",
            *["-A", "POSTROUTING", "-o", "out", "-p", "udp", "-j", "SNAT", "--to-source"],
            f"{outside}:41000-42000",
        ]
    )
    _mappings_last(topology, 1)
    time.sleep(3)
    _mappings_last(topology, 120)


def _mappings_last(topology: Topology, seconds: int) -> None:
    for name in ("udp_timeout", "udp_timeout_stream"):
        topology.ns("nat").sysctl({f"net.netfilter.nf_conntrack_{name}": seconds})


@pytest.mark.rfc("7296", "2.23")
@pytest.mark.rfc("3948", "1")
@pytest.mark.rfc("4555", "3.8")
@pytest.mark.parametrize("by", ["esp", "ike", "mobike"])
@pytest.mark.parametrize("outside", [OUTER_A[0], ELSEWHERE])
def test_the_tunnel_follows(nat_topology: Topology, outside: str, by: str) -> None:
    topology = nat_topology
    _mappings_last(topology, 1)
    with ends(topology, dpd="off" if by == "esp" else "4s", mobike=by == "mobike") as (_, theirs):
        assert traffic.ping(topology.ns("ha"), HOST_B[0]).loss == 0
        before = theirs.client.connection("net").ike_sas[0]
        forget_mapping(topology, outside)
        if by == "esp":
            traffic.ping(topology.ns("ha"), HOST_B[0], count=2, wait_s=1)
        deadline = time.monotonic() + 10
        while not (moved := re.findall(r"(?:moved it|runs) from \S+ to (\S+)", theirs.log_tail(60))):
            assert time.monotonic() < deadline, "gateway B has not noticed"
            time.sleep(0.1)
        assert re.fullmatch(rf"{outside}:41\d\d\d", moved[0])
        while traffic.ping(topology.ns("hb"), HOST_A[0], count=1, wait_s=1).loss:  # its policies follow next
            assert time.monotonic() < deadline, "gateway B sends to where the NAT was"
        assert traffic.ping(topology.ns("hb"), HOST_A[0], interval_s=0.02).loss == 0
        assert traffic.ping(topology.ns("ha"), HOST_B[0], interval_s=0.02).loss == 0
        after = theirs.client.connection("net").ike_sas[0]
        assert after.name == before.name and after.remote == moved[0]
        assert after.children[0].inbound.spi == before.children[0].inbound.spi
        assert after.children[0].outbound.spi == before.children[0].outbound.spi
        assert after.children[0].inbound.packets > before.children[0].inbound.packets
        assert not after.children[0].inbound.missing and not after.children[0].outbound.missing
        assert theirs.client.rekey("net", "net").ok
        assert traffic.ping(topology.ns("ha"), HOST_B[0], interval_s=0.02).loss == 0
