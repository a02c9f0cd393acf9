"""One gateway of ours against one charon: all that a tunnel with strongSwan can be told."""

import ipaddress
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.lab import bench
from tests.lab.bench import OUR_ID, PEER_ID, PSK, Pinging, eventually
from tests.lab.stranger import first_datagram, stranger
from xfrmctl.lab import traffic
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.peers.swanctl import Child, Connection
from xfrmctl.lab.topology import Topology
from xfrmctl.model.address import Endpoint
from xfrmctl.wire.message import first_of, parse
from xfrmctl.wire.payloads import Sa

__all__ = ["CHARON_ID", "OUR_ID", "PSK", "Bench", "Initiator", "Leg", "Pinging", "Tunnel", "eventually"]

Initiator = Literal["ours", "charon"]

CHARON_ID = PEER_ID
IKE, ESP = "aes128gcm16-prfsha256-x25519", "aes128gcm16"

#: One half-open IKE SA is enough for cookies, as for our gateway; a peer that is silent for 4 s is dead.
CHARON = (
    "cookie_threshold = 1",
    "half_open_timeout = 3",
    "retransmit_timeout = 1.0",
    "retransmit_base = 1.0",
    "retransmit_tries = 3",
)
#: Where a half-open IKE SA comes from: an address of the peer, a port that no daemon has.
_STRANGER_PORT = 5500


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One child as both ends are told it.

    ``near`` are the networks behind us, ``far`` those behind charon; None is everything there. What begins with
    ``charon_`` is what charon is told instead, where the two differ.
    """

    name: str = "net"
    near: Sequence[str] | None = None
    far: Sequence[str] | None = None
    charon_near: Sequence[str] | None = None
    charon_far: Sequence[str] | None = None
    esp: Sequence[str] = (ESP,)
    charon_esp: Sequence[str] | None = None
    #: AH instead of ESP, on both ends.
    ah: Sequence[str] = ()
    start: str = "none"
    charon_start: str = "none"
    dataplane: str = "policy"
    #: Modes other than tunnel are between the gateways themselves: without networks.
    mode: str = "tunnel"
    charon_mode: str = "tunnel"
    #: A tunnel device of ours over it; the selectors are then its packets.
    tunnel: dict[str, Any] = field(default_factory=dict)
    #: Our limits, as a configuration file has them.
    rekey: dict[str, Any] = field(default_factory=dict)
    lifetime: dict[str, Any] = field(default_factory=dict)

    @property
    def hosts(self) -> bool:
        """Whether it is between the gateways themselves."""
        return self.mode != "tunnel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """One connection as both ends are told it; what begins with ``charon_`` is what charon is told instead."""

    outer: int = 4
    ike: Sequence[str] = (IKE,)
    charon_ike: Sequence[str] | None = None
    psk: str = PSK
    charon_psk: str | None = None
    our_id: str = OUR_ID
    charon_id: str = CHARON_ID
    #: Whom we expect and whom charon expects, where that is not who the other one is.
    we_expect: str | None = None
    charon_expects: str | None = None
    encap: bool = False
    charon_encap: bool = False
    #: We take the tunnel from any address, and can then only answer.
    any_peer: bool = False
    dpd: str = "30s"
    rekey: str = "4h"
    charon_dpd_s: int = 0
    retransmit: dict[str, Any] = field(default_factory=dict)
    #: What stands in our ``auth:``, and in charon's sections "local" and "remote", where it is not the shared key.
    our_auth: dict[str, Any] | None = None
    charon_local_auth: Sequence[str] = ("auth = psk",)
    charon_remote_auth: Sequence[str] = ("auth = psk",)
    legs: Sequence[Leg] = (Leg(),)


def _identity(text: str) -> str:
    """A bare name is an FQDN; with a colon it is spelled as in our configuration."""
    return text if ":" in text else f"fqdn:{text}"


class Bench(bench.Bench[StrongSwan]):
    """A topology, our daemon in one gateway's namespace and charon in the other's.

    bench.arrange(Tunnel(esp="aes256-sha512", dataplane="interface"))
    with bench.only_esp():
        bench.bring_up("charon")
        bench.check_traffic()
    """

    def __init__(self, topology: Topology, *, ours_in: str = "ga") -> None:
        super().__init__(topology, lambda there: StrongSwan(there, [], daemon_options=CHARON), ours_in=ours_in)

    @classmethod
    @contextmanager
    def running(cls, *, nat: bool = False, ours_in: str = "ga") -> "Iterator[Bench]":
        """A bench whose daemons run."""
        with Topology(nat=nat) as topology, cls(topology, ours_in=ours_in).daemons() as made:
            yield made

    @property
    def charon(self) -> StrongSwan:
        """The peer."""
        return self.peer

    def charon_log(self) -> str:
        """What charon has logged since the tunnel was arranged."""
        return self.peer_log()

    # ---- configuration ----------------------------------------------------------------------------------------

    def arrange(self, tunnel: Tunnel) -> None:
        """Give both ends this tunnel and nothing else; nothing is negotiated yet."""
        self.next_name()
        self.configure_ours(self._our_side(tunnel))
        self.peer.configure([self._charon_side(tunnel)])
        self._forget_earlier_tests()
        self.forget_logs()
        self.peer.load()

    def _forget_earlier_tests(self) -> None:
        """Our reload has told charon already that the tunnels of before are gone; failed tests may leave more."""
        deadline = time.monotonic() + 5
        while left := self.peer.sas():
            assert time.monotonic() < deadline, f"charon keeps {left}"
            time.sleep(0.1)
            for sa in left:
                if time.monotonic() > deadline - 4:
                    self.peer.swanctl("--terminate", "--ike", sa.name, "--force", "--timeout", "1", check=False)

    def _our_side(self, tunnel: Tunnel) -> dict[str, Any]:
        at = 0 if tunnel.outer == 4 else 1
        ike: dict[str, Any] = {"proposals": list(tunnel.ike), "dpd": tunnel.dpd, "rekey": tunnel.rekey}
        ike["encap"] = "always" if tunnel.encap else "auto"
        return {
            "local": {"address": self.our_outer[at], "id": _identity(tunnel.our_id)},
            "remote": {
                "address": "any" if tunnel.any_peer else self.peer_seen[at],
                "id": _identity(tunnel.we_expect or tunnel.charon_id),
            },
            "auth": tunnel.our_auth or {"psk": tunnel.psk},
            "ike": ike | ({"retransmit": tunnel.retransmit} if tunnel.retransmit else {}),
            "children": {
                leg.name: {
                    **({} if leg.hosts else {"local_ts": list(leg.near or self.near)}),
                    **({} if leg.hosts else {"remote_ts": list(leg.far or self.far)}),
                    "mode": leg.mode,
                    **({"ah": list(leg.ah)} if leg.ah else {"esp": list(leg.esp)}),
                    "dataplane": leg.dataplane,
                    **({"tunnel": leg.tunnel} if leg.tunnel else {}),
                    "start": leg.start,
                    "rekey": leg.rekey,
                    "lifetime": leg.lifetime,
                }
                for leg in tunnel.legs
            },
        }

    def _charon_side(self, tunnel: Tunnel) -> Connection:
        at = 0 if tunnel.outer == 4 else 1
        return Connection(
            name=self.name,
            local=self.peer_outer[at],
            remote=self.our_seen[at],
            psk=tunnel.charon_psk or tunnel.psk,
            local_id=tunnel.charon_id,
            remote_id=tunnel.charon_expects or tunnel.our_id,
            local_auth=tunnel.charon_local_auth,
            remote_auth=tunnel.charon_remote_auth,
            proposals=tunnel.charon_ike or tunnel.ike,
            encap=tunnel.charon_encap,
            dpd_delay_s=tunnel.charon_dpd_s,
            children=[
                Child(
                    name=leg.name,
                    local_ts=leg.charon_far or (["dynamic"] if leg.hosts else leg.far or self.far),
                    remote_ts=leg.charon_near or (["dynamic"] if leg.hosts else leg.near or self.near),
                    mode=leg.charon_mode,
                    esp_proposals=leg.charon_esp or leg.esp,
                    ah_proposals=leg.ah,
                    start_action=leg.charon_start,
                )
                for leg in tunnel.legs
            ],
        )

    # ---- negotiation ------------------------------------------------------------------------------------------

    def peer_initiates(self, child: str) -> None:
        """Have charon bring this child up."""
        self.peer.initiate(child)

    def fail(self, initiator: Initiator, child: str = "net") -> None:
        """Have one end initiate a child that cannot come up."""
        if initiator == "ours":
            result = self.ours.client.up(self.name, child)
            assert not result.ok, result.message
        else:
            assert "failed" in self.peer.initiate(child, check=False, timeout_s=10)

    # ---- what charon says ------------------------------------------------------------------------------------

    def peer_counted(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """Bytes and packets of every CHILD SA, as charon lists them."""
        return {
            (c.spi_out, c.spi_in): (c.bytes_out, c.packets_out, c.bytes_in, c.packets_in) for c in self.peer.children()
        }

    def check_traffic_of_the_gateways(self, outer: int) -> None:
        """The same between the two gateways themselves, as transport mode has it.

        Every segment by itself: of a GSO packet the sender's SA counts one packet, the receiver's each segment.
        """
        at = 0 if outer == 4 else 1
        here, there = self.ours.namespace, self.peer.namespace
        for gateway in (here, there):
            gateway.batch(["link set wan gso_max_segs 1"])
        for source, sink, address in ((here, there, self.peer_seen[at]), (there, here, self.our_seen[at])):
            assert traffic.ping(source, address, interval_s=0.02).loss == 0
            assert traffic.transfer(source, sink, address, size=bench.TRANSFER_BYTES).complete
        self.check_counters()

    # ---- trouble ----------------------------------------------------------------------------------------------

    def half_open(self, at: Initiator) -> None:
        """Begin a handshake with one end, in the other end's name, and leave it there."""
        ours = at == "ours"
        here, there = (self.peer_outer, self.our_seen) if ours else (self.our_outer, self.peer_seen)
        local, remote = (Endpoint(ipaddress.ip_address(side[0]), 500) for side in (here, there))
        engine = stranger(local, remote)
        namespace = (self.peer if ours else self.ours).namespace
        with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((here[0], _STRANGER_PORT))
            sock.settimeout(5)
            for _ in range(2):  # the second time with the cookie, if one is demanded
                sock.sendto(first_datagram(engine), (there[0], 500))
                answer = sock.recv(4096)
                if first_of(parse(answer).payloads, Sa):
                    return
                engine.handle_datagram(local, remote, answer, 0.0)
        raise AssertionError(f"refused: {parse(answer).payloads}")
