"""One gateway of ours against one charon: what the interop tests share.

A :class:`Bench` is a topology with our daemon on one end and strongSwan on the other. Both keep running over many
tests; :meth:`Bench.arrange` gives them one tunnel under a name that no test before has used, so that nothing of an
earlier test is left in either of them.

    bench.arrange(Tunnel(esp="aes256-sha512", dataplane="interface"))
    with bench.only_esp():
        bench.bring_up("charon")
        bench.check_traffic()
"""

import ipaddress
import itertools
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.lab.commandline import command
from tests.lab.stranger import first_datagram, stranger
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.counters import kernel_sas
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.packets import Kind
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.peers.swanctl import Child, Connection
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, OUTER_B, Topology
from xfrmctl.model.address import Endpoint
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo
from xfrmctl.wire.message import first_of, parse
from xfrmctl.wire.payloads import Sa

Initiator = Literal["ours", "charon"]

PSK = "a key for the interop tests only, 32 bytes"
OUR_ID, CHARON_ID = "moon.example.org", "sun.example.org"
IKE, ESP = "aes128gcm16-prfsha256-x25519", "aes128gcm16"

#: Settings of our gateway in these tests: one half-open IKE SA is enough for cookies, and it is forgotten soon.
GATEWAY = {"limits": {"cookies_from": 1, "half_open_timeout": "3s"}}
#: The same for charon; a peer that is silent for 4 s is dead.
CHARON = (
    "cookie_threshold = 1",
    "half_open_timeout = 3",
    "retransmit_timeout = 1.0",
    "retransmit_base = 1.0",
    "retransmit_tries = 3",
)
#: Where a half-open IKE SA comes from: an address of the peer, a port that no daemon has.
_STRANGER_PORT = 5500

_TRANSFER_BYTES = 300_000
_numbers = itertools.count(1)


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


class Pinging:
    """Fifty pings a second until it is stopped: a gap of a few packets shows."""

    def __init__(self, source: Namespace, address: str) -> None:
        self._source, self._address = source, address
        self._process: subprocess.Popen[bytes] | None = None
        self._result = traffic.PingResult(0, 0, None, None, "")

    def start(self) -> None:
        """Begin."""
        argv = ["ping", "-n", "-q", "-i", "0.02", self._address]
        self._process = self._source.popen(argv, stdout=subprocess.PIPE)

    def stop(self) -> traffic.PingResult:
        """What came of it; the last packet gets its time to come back."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            self._result = traffic.parse_ping(process.communicate(timeout=10)[0].decode())
        return self._result


def _identity(text: str) -> str:
    """A bare name is an FQDN; with a colon it is spelled as in our configuration."""
    return text if ":" in text else f"fqdn:{text}"


class Bench:
    """A topology, our daemon in one gateway's namespace and charon in the other's."""

    def __init__(self, topology: Topology, *, ours_in: str = "ga") -> None:
        self.topology, self.name = topology, "none"
        first = ours_in == "ga"
        own = ((topology.ga_address, topology.seen_address), (OUTER_B, OUTER_B))
        (self.our_outer, self.our_seen), (self.charon_outer, self.charon_seen) = own if first else own[::-1]
        self.near, self.far = (INNER_A, INNER_B) if first else (INNER_B, INNER_A)
        self.near_host, self.far_host = (HOST_A, HOST_B) if first else (HOST_B, HOST_A)
        self.near_ns, self.far_ns = (topology.ns(name) for name in (("ha", "hb") if first else ("hb", "ha")))
        here, there = (topology.ns(name) for name in (("ga", "gb") if first else ("gb", "ga")))
        self.ours = Gateway(here, json.dumps({"gateway": GATEWAY}))
        self.charon = StrongSwan(there, [], daemon_options=CHARON)
        self._our_lines = self._charon_chars = 0

    @classmethod
    @contextmanager
    def running(cls, *, nat: bool = False, ours_in: str = "ga") -> "Iterator[Bench]":
        """A bench whose daemons run."""
        with Topology(nat=nat) as topology:
            bench = cls(topology, ours_in=ours_in)
            try:
                bench.ours.start(wait=False)
                bench.charon.start()
                bench.ours.wait_ready()
                yield bench
            finally:
                bench.charon.stop()
                bench.ours.close()

    # ---- configuration ----------------------------------------------------------------------------------------

    def arrange(self, tunnel: Tunnel) -> None:
        """Give both ends this tunnel and nothing else; nothing is negotiated yet."""
        self.name = f"tunnel{next(_numbers)}"
        self.ours.configure(json.dumps({"gateway": GATEWAY, "connections": {self.name: self._our_side(tunnel)}}))
        result = self.ours.client.reload()
        assert result.ok, result.message
        self._our_lines = len(self.ours.log_lines())
        self.charon.configure([self._charon_side(tunnel)])
        self._forget_earlier_tests()
        self._charon_chars = len(self.charon.log_text())
        self.charon.load()

    def _forget_earlier_tests(self) -> None:
        """Our reload has told charon already that the tunnels of before are gone; failed tests may leave more."""
        deadline = time.monotonic() + 5
        while left := self.charon.sas():
            assert time.monotonic() < deadline, f"charon keeps {left}"
            time.sleep(0.1)
            for sa in left:
                if time.monotonic() > deadline - 4:
                    self.charon.swanctl("--terminate", "--ike", sa.name, "--force", "--timeout", "1", check=False)

    def _our_side(self, tunnel: Tunnel) -> dict[str, Any]:
        at = 0 if tunnel.outer == 4 else 1
        ike: dict[str, Any] = {"proposals": list(tunnel.ike), "dpd": tunnel.dpd, "rekey": tunnel.rekey}
        ike["encap"] = "always" if tunnel.encap else "auto"
        return {
            "local": {"address": self.our_outer[at], "id": _identity(tunnel.our_id)},
            "remote": {
                "address": "any" if tunnel.any_peer else self.charon_seen[at],
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
            local=self.charon_outer[at],
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
                    local_ts=["dynamic"] if leg.hosts else leg.charon_far or leg.far or self.far,
                    remote_ts=["dynamic"] if leg.hosts else leg.charon_near or leg.near or self.near,
                    mode=leg.charon_mode,
                    esp_proposals=leg.charon_esp or leg.esp,
                    ah_proposals=leg.ah,
                    start_action=leg.charon_start,
                )
                for leg in tunnel.legs
            ],
        )

    # ---- negotiation ------------------------------------------------------------------------------------------

    def bring_up(self, initiator: Initiator, child: str = "net") -> ChildInfo:
        """Have one end initiate a child; it is up on both when this returns."""
        if initiator == "ours":
            result = self.ours.client.up(self.name, child)
            assert result.ok, f"{result.message}\n{self.our_log()}\n{self.charon_log()}"
        else:
            self.charon.initiate(child)
        return self.wait_child(child)

    def fail(self, initiator: Initiator, child: str = "net") -> None:
        """Have one end initiate a child that cannot come up."""
        if initiator == "ours":
            result = self.ours.client.up(self.name, child)
            assert not result.ok, result.message
        else:
            assert "failed" in self.charon.initiate(child, check=False, timeout_s=10)

    def wait_child(self, child: str = "net") -> ChildInfo:
        """Our newest CHILD SA of this name, once there is one."""
        eventually(lambda: bool(self.children(child)), f"{child} up here\n{self.our_log()}")
        return self.children(child)[-1]

    # ---- what the two say -------------------------------------------------------------------------------------

    def connection(self) -> ConnectionInfo:
        """The tunnel as our control API shows it."""
        return self.ours.client.connection(self.name)

    def children(self, child: str | None = None) -> list[ChildInfo]:
        """Our CHILD SAs, oldest first."""
        return [c for ike in self.connection().ike_sas for c in ike.children if child in (None, c.name)]

    def shown(self) -> dict[str, Any]:
        """The tunnel as ``xfrmctl show NAME --json`` prints it."""
        found: dict[str, Any] = json.loads(command(self.ours, "show", self.name, "--json").stdout)
        return found

    def our_log(self) -> str:
        """What our daemon has logged since the tunnel was arranged."""
        return "\n".join(self.ours.log_lines()[self._our_lines :])

    def charon_log(self) -> str:
        """What charon has logged since the tunnel was arranged."""
        return self.charon.log_text()[self._charon_chars :]

    @contextmanager
    def told(self) -> Iterator[None]:
        """Print both logs at the end: pytest shows them where a test has failed."""
        try:
            yield
        finally:
            print(f"---- ours\n{self.our_log()}\n---- charon\n{self.charon_log()}")

    # ---- proofs -----------------------------------------------------------------------------------------------

    @contextmanager
    def only_esp(self, *, udp: bool | None = None, esp: bool = True, full_size: bool = True) -> Iterator[Capture]:
        """Prove by a capture on the router that nothing crossed in clear while the block ran.

        ``udp`` says how ESP has to look (None: either), ``esp`` whether there has to be any, and ``full_size``
        whether some has to fill the path.
        """
        with Capture(self.topology.ns("r"), "rb") as capture:
            yield capture
        report = capture.report
        assert report.problems(esp_expected=esp) == []
        if udp is not None:
            assert (report.counts[Kind.UDP_ESP] > 0, report.counts[Kind.ESP] > 0) == (udp, not udp), report.counts
        if esp and full_size:
            assert 1440 < report.largest <= 1500

    def check_traffic(self, families: Sequence[int] = (4, 6)) -> None:
        """Ping without loss and TCP with full-size packets, both ways; then both ends have counted the same."""
        for at in (family // 2 - 2 for family in families):
            assert traffic.ping(self.near_ns, self.far_host[at], interval_s=0.02).loss == 0
            assert traffic.ping(self.far_ns, self.near_host[at], interval_s=0.02).loss == 0
            for source, sink, address in (
                (self.near_ns, self.far_ns, self.far_host[at]),
                (self.far_ns, self.near_ns, self.near_host[at]),
            ):
                assert traffic.transfer(source, sink, address, size=_TRANSFER_BYTES).complete
        self.check_counters()

    def check_traffic_of_the_gateways(self, outer: int) -> None:
        """The same between the two gateways themselves, as transport mode has it.

        Every segment by itself: of a GSO packet the sender's SA counts one packet, the receiver's each segment.
        """
        at = 0 if outer == 4 else 1
        here, there = self.ours.namespace, self.charon.namespace
        for gateway in (here, there):
            gateway.batch(["link set wan gso_max_segs 1"])
        for source, sink, address in ((here, there, self.charon_seen[at]), (there, here, self.our_seen[at])):
            assert traffic.ping(source, address, interval_s=0.02).loss == 0
            assert traffic.transfer(source, sink, address, size=_TRANSFER_BYTES).complete
        self.check_counters()

    @contextmanager
    def pinging(self) -> "Iterator[Pinging]":
        """Pings from our host to charon's that can run beside something else."""
        made = Pinging(self.near_ns, self.far_host[0])
        try:
            yield made
        finally:
            made.stop()

    def check_counters(self) -> None:
        """Bytes and packets of every CHILD SA: our API, charon, and the kernel of our side agree."""
        eventually(lambda: self._ours_counted() == self._charon_counted(), "both ends count the same")
        ours = self._ours_counted()
        assert ours and all(all(counts) for counts in ours.values()), f"an SA that carried nothing: {ours}"
        kernel = {sa.spi: (sa.bytes, sa.packets) for sa in kernel_sas(self.ours.namespace)}
        for (spi_in, spi_out), counts in ours.items():
            assert (*kernel[spi_in], *kernel[spi_out]) == counts

    def _ours_counted(self) -> dict[tuple[int, int], tuple[int, ...]]:
        return {
            (int(c.inbound.spi, 16), int(c.outbound.spi, 16)): (
                c.inbound.bytes,
                c.inbound.packets,
                c.outbound.bytes,
                c.outbound.packets,
            )
            for c in self.children()
        }

    def _charon_counted(self) -> dict[tuple[int, int], tuple[int, ...]]:
        return {
            (c.spi_out, c.spi_in): (c.bytes_out, c.packets_out, c.bytes_in, c.packets_in)
            for c in self.charon.children()
        }

    # ---- trouble ----------------------------------------------------------------------------------------------

    def half_open(self, at: Initiator) -> None:
        """Begin a handshake with one end, in the other end's name, and leave it there."""
        ours = at == "ours"
        here, there = (self.charon_outer, self.our_seen) if ours else (self.our_outer, self.charon_seen)
        local, remote = (Endpoint(ipaddress.ip_address(side[0]), 500) for side in (here, there))
        engine = stranger(local, remote)
        namespace = (self.charon if ours else self.ours).namespace
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


def eventually(holds: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    """Wait until it holds; it must within ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)
