"""What the tests of whole daemons share: configurations of a pair, packets that never stop, and captures that see them.

Each packet carries a serial number in its payload. So "from here on nothing in clear" needs no clock: the serial
that was sent last is the mark, and every packet in clear tells whether it was sent before or after it.
"""

import contextlib
import json
import selectors
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.kernel_gateway import inside
from xfrmctl.kernel.devices import Devices
from xfrmctl.kernel.spd import Spd
from xfrmctl.lab import pcap
from xfrmctl.lab.capture import INNER, Capture
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.packets import Kind, classify
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, OUTER_A, OUTER_B, Topology
from xfrmctl.model.sa import Direction

MAIN, LAN = "main", "lan"
"""The connection's and the child's name on both gateways."""

METRICS = "127.0.0.1:9877"
PSK = "a key for the laboratory only, 32+"
IDS = ("fqdn:moon.example.org", "fqdn:sun.example.org")
HASTE: dict[str, Any] = {
    "ike": {"dpd": "1s", "retransmit": {"first": "0.3s", "factor": 1.5, "tries": 2, "max": "1s"}},
    "retry": {"first": "0.5s", "max": "1s"},
}
"""A silent peer is noticed within two to three seconds."""

RATE_HZ = 100
_PORT = 7007
_SERIAL = struct.Struct("!Q")


def connection(side: int, children: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A connection of gateway A (``side`` 0) or B (1) to the other, in haste unless told otherwise."""
    outer = (OUTER_A[0], OUTER_B[0])
    return {
        "local": {"address": outer[side], "id": IDS[side]},
        "remote": {"address": outer[1 - side], "id": IDS[1 - side]},
        "auth": {"psk": PSK},
        "children": dict(children),
        **HASTE,
        **more,
    }


def lan(side: int, dataplane: str = "policy", **more: Any) -> dict[str, Any]:
    """The child between the hosts' networks, IPv4 and IPv6; gateway A starts it, B waits, unless told otherwise."""
    nets = (list(INNER_A), list(INNER_B))
    usual = {
        "local_ts": nets[side],
        "remote_ts": nets[1 - side],
        "dataplane": dataplane,
        "start": "none" if side else "start",
    }
    return usual | more


def text(connections: Mapping[str, Any], **gateway: Any) -> str:
    """A configuration file; JSON is YAML."""
    return json.dumps({"gateway": {"metrics": METRICS, **gateway}, "connections": dict(connections)}, indent=1)


def eventually(what: str, holds: Callable[[], object], timeout_s: float = 60, every_s: float = 0.05) -> float:
    """Wait until something holds; gives the seconds it took."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > timeout_s:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(every_s)
    return time.monotonic() - began


def no_alarm(*gateways: Gateway) -> None:
    """``xfrmctl diagnose`` finds nothing there, and could look at everything: the tunnels are healthy."""
    for gateway in gateways:
        result = gateway.client.diagnose(None, 0)
        assert not result.findings and not result.blind, result


class Stream:
    """UDP both ways between the hosts, IPv4 and IPv6, without pause: four flows of RATE_HZ packets a second."""

    def __init__(self, topology: Topology) -> None:
        self.serial = 0
        self.arrived: dict[tuple[str, int], int] = {}
        self._stop = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._flows: list[tuple[socket.socket, tuple[str, int]]] = []
        for source, here, there in (("ha", HOST_A, HOST_B), ("hb", HOST_B, HOST_A)):
            for which, family in enumerate((socket.AF_INET, socket.AF_INET6)):
                sock = topology.ns(source).socket(family, socket.SOCK_DGRAM)
                sock.setblocking(False)
                sock.bind((here[which], _PORT))
                self._flows.append((sock, (there[which], _PORT)))
                at = ("b>a" if source == "ha" else "a>b", 6 if which else 4)
                self.arrived[at] = 0
                self._selector.register(sock, selectors.EVENT_READ, at)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for sock, _where in self._flows:
            sock.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self.serial += 1
            for sock, where in self._flows:
                with contextlib.suppress(OSError):  # no route, no neighbour: the next one will do
                    sock.sendto(_SERIAL.pack(self.serial).ljust(64, b"."), where)
            due = max(due + 1 / RATE_HZ, time.monotonic() - 0.1)
            while (left := due - time.monotonic()) > 0:
                for key, _events in self._selector.select(left):
                    self._receive(key.fileobj, key.data)

    def _receive(self, sock: Any, at: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            while sock.recv(2048):
                self.arrived[at] += 1

    def flows(self, timeout_s: float = 60) -> float:
        """Wait until packets of all four flows arrive; gives the seconds it took."""
        before = dict(self.arrived)
        return eventually(
            f"all four flows arrive: {self.arrived}",
            lambda: all(self.arrived[at] > before[at] for at in before),
            timeout_s,
        )

    def stands(self, seconds: float = 0.4, timeout_s: float = 3) -> bool:
        """Whether for a while no packet at all arrives; what is still under way may take a moment."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            before = dict(self.arrived)
            time.sleep(seconds)
            if self.arrived == before:
                return True
        return False


@dataclass(slots=True)
class Seen:
    """What the captures on both sides of the router saw. ``clear`` are serials; 0 for packets that are not ours."""

    clear: list[int] = field(default_factory=list)
    esp: int = 0
    dropped: int = 0
    sent: int = 0

    def nothing_in_clear(self, after: int = 0, *, esp: bool | None = None) -> None:
        """Assert it, for packets with a serial above ``after``, and that the capture is worth something."""
        assert self.dropped == 0, f"the capture is incomplete: {self.dropped} packets"
        assert self.sent >= 20, f"{self.sent} packets of each flow prove nothing"
        late = [serial for serial in self.clear if serial > after or not serial]
        assert not late, f"{len(late)} packets in clear, serials {late[0]} to {late[-1]}, {after=}"
        if esp is not None:
            assert bool(self.esp) is esp, f"{self.esp} ESP packets"


@contextmanager
def brought_up(a: Gateway, b: Gateway) -> Iterator[tuple[Gateway, Gateway]]:
    """Both run and the tunnel stands when the block begins; what they have said is shown when an assertion fails."""
    try:
        b.start()
        a.start()
        a.client.up(MAIN)
        for gateway in (a, b):
            gateway.wait_up(MAIN)
        yield a, b
    except AssertionError:
        for gateway in (a, b):
            print(gateway.log_tail(60))
        raise
    finally:
        a.close()
        b.close()


@contextmanager
def watch(topology: Topology, stream: Stream) -> Iterator[Seen]:
    """Capture on both links of the router while the block runs; the result is complete when it ends."""
    seen = Seen()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        files = [Path(scratch) / dev for dev in ("ra", "rb")]
        captures = [Capture(topology.ns("r"), file.name, keep=file) for file in files]
        with captures[0], captures[1]:
            first = stream.serial
            yield seen
            seen.sent = stream.serial - first
        for capture, file in zip(captures, files, strict=True):
            seen.dropped += capture.report.dropped
            seen.esp += capture.report.esp
            seen.clear += _serials(file.read_bytes())
    seen.clear.sort()


def _serials(data: bytes) -> list[int]:
    found = []
    for frame in pcap.frames(data):
        packet = classify(frame, INNER)
        if packet.kind is not Kind.PLAINTEXT:
            continue
        at = 14 + (40 if packet.src is not None and packet.src.version == 6 else 20) + 8
        found.append(_SERIAL.unpack_from(frame, at)[0] if packet.protocol == socket.IPPROTO_UDP else 0)
    return found


class World:
    """A topology with packets that never stop, and a daemon on each gateway that may run or not."""

    def __init__(self, topology: Topology, stream: Stream, dataplane: str) -> None:
        self.topology, self.stream, self.dataplane = topology, stream, dataplane
        self.configs = (self.config(0), self.config(1))
        self.a, self.b = (
            Gateway(topology.ns(ns), config) for ns, config in zip(("ga", "gb"), self.configs, strict=True)
        )
        self._policies: list[Spd] = []
        self._devices: list[Devices] = []
        for gateway in self.gateways:
            with inside(gateway.namespace):
                self._policies.append(Spd())
                self._devices.append(Devices())

    def config(self, side: int, others: Mapping[str, Any] | None = None, *, retry: Any = None, **child: Any) -> str:
        """The configuration of one side: the child between the hosts as given, and ``others``."""
        more = {"retry": retry} if retry else {}
        main = connection(side, {LAN: lan(side, **{"dataplane": self.dataplane} | child)}, **more)
        return text({MAIN: main, **(others or {})})

    @property
    def gateways(self) -> tuple[Gateway, Gateway]:
        """Gateway A and gateway B."""
        return self.a, self.b

    def base(self, a: str | None = None, b: str | None = None) -> None:
        """Both daemons run with these configurations (the usual ones), the tunnel is up, and packets arrive."""
        for side, config in ((1, b), (0, a)):
            self.configure(side, config or self.configs[side])
        for gateway in self.gateways:
            if gateway.running:
                gateway.wait_ready()
        self.a.client.up(MAIN)
        for gateway in self.gateways:
            gateway.wait_up(MAIN)
        self.stream.flows()

    def configure(self, side: int, config: str) -> None:
        """Put a configuration in force, starting the daemon if need be."""
        gateway = self.gateways[side]
        same = gateway.config_file.read_text() == config
        gateway.configure(config)
        if not gateway.running:
            gateway.start()
        elif not same:
            result = gateway.client.reload()
            assert result.ok, result.message

    def watch(self) -> contextlib.AbstractContextManager[Seen]:
        """See :func:`watch`."""
        return watch(self.topology, self.stream)

    def guarded(self, side: int) -> bool:
        """Whether the first policy or route that protects this side's selectors stands.

        Asked through netlink, not by a program: whoever asks often must not keep the daemon from its start.
        """
        if self.dataplane == "policy":
            return any(key.direction is Direction.OUT for key in self._policies[side].read())
        return any(route.device is None for route in self._devices[side].read_routes())

    def close(self) -> None:
        """Stop both daemons."""
        for gateway in self.gateways:
            gateway.close()
        for policies, devices in zip(self._policies, self._devices, strict=True):
            policies.close()
            devices.close()


def network_of(namespace: Namespace, *what: str) -> str:
    """``ip`` as a person would ask it."""
    return namespace.run(["ip", *what]).stdout


@contextmanager
def ike_dropped(topology: Topology) -> Iterator[None]:
    """The router lets no IKE through while the block runs; ESP passes."""
    rules = [[tool, "-w", "FORWARD", "-p", "udp", "-m", "multiport", "--dports", "500,4500", "-j", "DROP"]
             for tool in ("iptables", "ip6tables")]  # fmt: skip
    router = topology.ns("r")
    for rule in rules:
        router.run([*rule[:2], "-I", *rule[2:]])
    try:
        yield
    finally:
        for rule in rules:
            router.run([*rule[:2], "-D", *rule[2:]])
