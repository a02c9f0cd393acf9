"""One gateway of ours against one foreign daemon: what the interop tests share, whoever the peer is.

A :class:`Bench` is a topology with our daemon on one end and the peer on the other. Both keep running over many
tests; each test gives them one tunnel under a name that no test before has used, so that nothing of an earlier test
is left in either of them.
"""

import itertools
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar

from tests.lab.commandline import command
from tests.lab.tunnel import no_alarm
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.counters import kernel_sas
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.packets import Kind
from xfrmctl.lab.peers.peer import Peer
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, OUTER_B, Topology
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo

PSK = "a key for the interop tests only, 32 bytes"
OUR_ID, PEER_ID = "moon.example.org", "sun.example.org"

#: Settings of our gateway in these tests: one half-open IKE SA is enough for cookies, and it is forgotten soon.
GATEWAY = {"limits": {"cookies_from": 1, "half_open_timeout": "3s"}}

TRANSFER_BYTES = 300_000
#: How long pings go on after what they accompany.
_AFTER_S = 0.5
_numbers = itertools.count(1)

P = TypeVar("P", bound=Peer)


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
        """What came of it, with the half second that follows; the last packet gets its time to come back."""
        process, self._process = self._process, None
        if process is not None:
            time.sleep(_AFTER_S)
            process.send_signal(signal.SIGINT)
            self._result = traffic.parse_ping(process.communicate(timeout=10)[0].decode())
        return self._result


class Bench(Generic[P]):
    """A topology, our daemon in one gateway's namespace and the peer in the other's."""

    def __init__(self, topology: Topology, peer: Callable[[Namespace], P], *, ours_in: str = "ga") -> None:
        self.topology, self.name = topology, "none"
        first = ours_in == "ga"
        own = ((topology.ga_address, topology.seen_address), (OUTER_B, OUTER_B))
        (self.our_outer, self.our_seen), (self.peer_outer, self.peer_seen) = own if first else own[::-1]
        self.near, self.far = (INNER_A, INNER_B) if first else (INNER_B, INNER_A)
        self.near_host, self.far_host = (HOST_A, HOST_B) if first else (HOST_B, HOST_A)
        self.near_ns, self.far_ns = (topology.ns(name) for name in (("ha", "hb") if first else ("hb", "ha")))
        here, there = (topology.ns(name) for name in (("ga", "gb") if first else ("gb", "ga")))
        self.ours = Gateway(here, json.dumps({"gateway": GATEWAY}))
        self.peer = peer(there)
        self._our_lines = self._peer_chars = 0

    @contextmanager
    def daemons(self) -> Iterator[Self]:
        """Both daemons run while the block does."""
        try:
            self.ours.start(wait=False)
            self.peer.start()
            self.ours.wait_ready()
            yield self
        finally:
            self.peer.stop()
            self.ours.close()

    # ---- configuration ----------------------------------------------------------------------------------------

    def next_name(self) -> str:
        """A name that no tunnel before had; the tunnel has it from now on."""
        self.name = f"tunnel{next(_numbers)}"
        return self.name

    def configure_ours(self, connection: dict[str, Any]) -> None:
        """Give our end this one connection under the tunnel's name; what it had before it deletes."""
        self.ours.configure(json.dumps({"gateway": GATEWAY, "connections": {self.name: connection}}))
        result = self.ours.client.reload()
        assert result.ok, result.message

    def forget_logs(self) -> None:
        """What the logs say so far belongs to another tunnel."""
        self._our_lines, self._peer_chars = len(self.ours.log_lines()), len(self.peer.log_text())

    # ---- negotiation ------------------------------------------------------------------------------------------

    def bring_up(self, initiator: str, child: str = "net") -> ChildInfo:
        """Have one end initiate a child; it is up on both when this returns."""
        if initiator == "ours":
            result = self.ours.client.up(self.name, child)
            assert result.ok, f"{result.message}\n{self.our_log()}\n{self.peer_log()}"
        else:
            self.peer_initiates(child)
        return self.wait_child(child)

    def peer_initiates(self, child: str) -> None:
        """Have the peer bring its tunnel up; most have one child only."""
        self.peer.initiate()

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

    def peer_log(self) -> str:
        """What the peer has logged since the tunnel was arranged."""
        return self.peer.log_text()[self._peer_chars :]

    @contextmanager
    def told(self) -> Iterator[None]:
        """Print both logs at the end: pytest shows them where a test has failed."""
        try:
            yield
        finally:
            print(f"---- ours\n{self.our_log()}\n---- the peer\n{self.peer_log()}")

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
                assert traffic.transfer(source, sink, address, size=TRANSFER_BYTES).complete
        self.check_counters()

    def no_alarm(self) -> None:
        """``xfrmctl diagnose`` finds nothing at our end."""
        no_alarm(self.ours)

    @contextmanager
    def pinging(self) -> "Iterator[Pinging]":
        """Pings from the host behind us to the other that can run beside something else."""
        made = Pinging(self.near_ns, self.far_host[0])
        try:
            yield made
        finally:
            made.stop()

    def check_counters(self) -> None:
        """Bytes and packets of every CHILD SA: our API, the peer, and the kernel of our side agree."""
        eventually(lambda: self._ours_counted() == self.peer_counted(), "both ends count the same")
        eventually(lambda: self._ours_counted() == self._kernel_counted(), "our kernel counts the same")
        ours = self._ours_counted()
        assert ours and all(all(counts) for counts in ours.values()), f"an SA that carried nothing: {ours}"

    def _kernel_counted(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """What our kernel has counted on the SAs that we have."""
        kernel = {sa.spi: (sa.bytes, sa.packets) for sa in kernel_sas(self.ours.namespace)}
        return {pair: tuple(n for spi in pair for n in kernel.get(spi, ())) for pair in self._ours_counted()}

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

    def peer_counted(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """The same by the kernel of the peer's side, for every pair of SAs that we have."""
        kernel = {sa.spi: (sa.bytes, sa.packets) for sa in kernel_sas(self.peer.namespace)}
        pairs = [(int(c.inbound.spi, 16), int(c.outbound.spi, 16)) for c in self.children()]
        return {(i, o): (*kernel.get(i, ()), *kernel.get(o, ())) for i, o in pairs}


def eventually(holds: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    """Wait until it holds; it must within ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)
