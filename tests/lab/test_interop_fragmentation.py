"""IKE fragmentation (RFC 7383) with strongSwan's charon, over a path that carries 576 bytes and loses IP fragments.

Messages become large by many traffic selectors: 120 networks behind the far gateway make IKE_AUTH and CREATE_CHILD_SA
about 2,000 octets long, which no single packet of this path carries.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from xfrmctl.control.client import ControlClient
from xfrmctl.lab import traffic
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.peers.swanctl import Child, Connection
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, OUTER_A, OUTER_B, Topology

pytestmark = [pytest.mark.lab, pytest.mark.interop]

FAR = (INNER_B[0], *(f"10.50.{n}.0/24" for n in range(119)))
PSK = "a key for the interop tests only, 32 bytes"
CHARON = ("retransmit_timeout = 1.0", "retransmit_base = 1.0", "retransmit_tries = 5")
REQUEST_FRAGMENTS = re.compile(r"parsed IKE_AUTH (?:request|response) 1 \[ EF\((\d+)/(\d+)\) \]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Both gateways of a running pair, and where IP fragments would be counted."""

    topology: Topology
    ours: Gateway
    charon: StrongSwan

    @property
    def client(self) -> ControlClient:
        return self.ours.client

    def bring_up(self, initiator: str) -> None:
        """Initiate from one end; both have the child afterwards, and traffic flows through it."""
        if initiator == "ours":
            result = self.client.up("net", "net")
            assert result.ok, f"{result.message}\n{self.ours.log_tail()}\n{self.charon.log_tail()}"
        else:
            self.charon.initiate()
        self.ours.wait_up("net")
        self.carries()

    def carries(self) -> None:
        self.charon.wait_installed()
        child = self.client.connection("net").ike_sas[-1].children[-1]
        assert len(child.remote_ts) == len(FAR), child.remote_ts
        assert traffic.ping(self.topology.ns("ha"), HOST_B[0], interval_s=0.02).loss == 0
        assert traffic.ping(self.topology.ns("hb"), HOST_A[0], interval_s=0.02).loss == 0

    def ip_fragments(self) -> int:
        """IP fragments (but the first of each datagram) that the gateways and the router have thrown away."""
        found = 0
        for name in ("ga", "r", "gb"):
            listing = self.topology.ns(name).run(["iptables", "-w", "-t", "raw", "-nvxL", "PREROUTING"]).stdout
            found += sum(int(line.split()[0]) for line in listing.splitlines() if "DROP" in line)
        return found

    def totals(self) -> set[int]:
        """Into how many fragments IKE_AUTH messages to charon were cut."""
        return {int(total) for _, total in REQUEST_FRAGMENTS.findall(self.charon.log_text())}


@contextmanager
def ends(
    topology: Topology, *, size: str | int = 576, charon: str = "yes", charon_size: int = 576, outer: int = 4
) -> Iterator[Ends]:
    """Our gateway A and charon B; both can only be reached by packets of the path's MTU, and IP fragments get lost."""
    at = 0 if outer == 4 else 1
    for name in ("ga", "r", "gb"):
        topology.ns(name).run(["iptables", "-w", "-t", "raw", "-A", "PREROUTING", "-f", "-j", "DROP"])
    config = {
        "gateway": {"path_mtu": {"probe": False}},  # whose last resort are small IP fragments, which are counted here
        "connections": {
            "net": {
                "local": {"address": OUTER_A[at], "id": "fqdn:moon.example.org"},
                "remote": {"address": OUTER_B[at], "id": "fqdn:sun.example.org"},
                "auth": {"psk": PSK},
                "ike": {"proposals": "aes128gcm16-prfsha256-x25519", "fragmentation": size},
                "children": {
                    "net": {
                        "local_ts": INNER_A[0],
                        "remote_ts": list(FAR),
                        "esp": "aes128gcm16-x25519",
                        "start": "none",
                    }
                },
            }
        },
    }
    peer = Connection(
        local=OUTER_B[at],
        remote=OUTER_A[at],
        psk=PSK,
        local_id="sun.example.org",
        remote_id="moon.example.org",
        children=[Child(local_ts=FAR, remote_ts=[INNER_A[0]])],
        extra=[f"fragmentation = {charon}"],
    )
    options = (*CHARON, f"fragment_size = {charon_size}")
    with (
        Gateway(topology.ns("ga"), json.dumps(config)) as ours,
        StrongSwan(topology.ns("gb"), [peer], daemon_options=options) as theirs,
    ):
        try:
            yield Ends(topology=topology, ours=ours, charon=theirs)
        finally:
            print(f"---- ours\n{ours.log_tail(60)}\n---- charon\n{theirs.log_tail(60)}")


@pytest.mark.rfc("7383", "2.5")
@pytest.mark.parametrize("charon", ["yes", "force"])
@pytest.mark.parametrize("initiator", ["ours", "charon"])
def test_a_path_of_576_bytes(topology: Topology, initiator: str, charon: str) -> None:
    topology.set_path_mtu(576)
    with ends(topology, charon=charon) as pair:
        pair.bring_up(initiator)
        assert pair.totals() and min(pair.totals()) >= 4
        for child in ("net", None):
            result = pair.client.rekey("net", child)
            assert result.ok, result.message
        pair.charon.swanctl("--rekey", "--child", "net")
        time.sleep(1)
        pair.charon.swanctl("--rekey", "--ike", "net")
        time.sleep(6)
        pair.carries()
        assert len(pair.charon.sas()) == len(pair.client.connection("net").ike_sas) == 1
        assert pair.ip_fragments() == 0


@pytest.mark.rfc("7383", "2.5.2")
def test_our_default_finds_out_that_the_path_is_small(topology: Topology) -> None:
    topology.set_path_mtu(576)
    with ends(topology, size="auto") as pair:
        began = time.monotonic()
        pair.bring_up("ours")
        took = time.monotonic() - began
        assert {2} < pair.totals() or min(pair.totals()) >= 4
        assert took < 15
        assert pair.ip_fragments() > 0
        before = pair.ip_fragments()
        assert pair.client.rekey("net", "net").ok
        assert pair.ip_fragments() == before


@pytest.mark.rfc("7383", "2.5.1")
@pytest.mark.parametrize("initiator", ["ours", "charon"])
@pytest.mark.parametrize("outer", [4, 6])
def test_a_path_of_1280_bytes_and_the_defaults(topology: Topology, outer: int, initiator: str) -> None:
    topology.set_path_mtu(1280)
    with ends(topology, size="auto", charon_size=1280, outer=outer) as pair:
        pair.bring_up(initiator)
        assert pair.totals() == {2}
        assert pair.ip_fragments() == 0
        for name in ("ga", "gb"):
            counters = topology.ns(name).run(["cat", "/proc/net/snmp6"]).stdout
            assert re.search(r"^Ip6ReasmReqds\s+0$", counters, re.MULTILINE), counters


@pytest.mark.rfc("7383", "2.3")
@pytest.mark.parametrize("initiator", ["ours", "charon"])
@pytest.mark.parametrize(("size", "charon"), [("auto", "no"), ("off", "yes")])
def test_without_common_support_messages_stay_whole(topology: Topology, size: str, charon: str, initiator: str) -> None:
    with ends(topology, size=size, charon=charon) as pair:
        for name in ("ga", "r", "gb"):
            topology.ns(name).run(["iptables", "-w", "-t", "raw", "-F"])
        pair.bring_up(initiator)
        assert not pair.totals()
