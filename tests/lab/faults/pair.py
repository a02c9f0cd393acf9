"""Two gateways with a tunnel that stays up over many faults: each fault is made, looked at, and taken back."""

import contextlib
import datetime
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from tests import pki
from tests.lab.faults.fault import Fault, merged
from tests.lab.tunnel import LAN, MAIN, connection, eventually, lan, text
from xfrmctl.lab import traffic
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.process import end
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, OUTER_B, Topology
from xfrmctl.model.finding import HERE, Finding

SECONDS = 1.0
GRE = "gre"
"""In the place of a data plane: a GRE device over transport mode."""


class Pair:
    """Gateway A initiates, gateway B answers."""

    def __init__(
        self, topology: Topology, dataplane: str = "policy", base: Mapping[str, Any] | None = None, which: int = 0
    ) -> None:
        """``base`` is merged into both connections; ``which`` is the outer family, 0 for IPv4 and 1 for IPv6."""
        self.topology, self._plane, self._base, self._which = topology, dataplane, base or {}, which
        self.gateways = [Gateway(topology.ns(ns), self.config(side)) for side, ns in enumerate(("ga", "gb"))]

    def __enter__(self) -> Self:
        for gateway in reversed(self.gateways):
            gateway.start()
        self.restore()
        return self

    def __exit__(self, *_: object) -> None:
        for gateway in self.gateways:
            gateway.close()

    def config(self, side: int, change: Mapping[str, Any] | None = None) -> str:
        """One side's configuration with a change."""
        child = lan(side, self._plane, **({"interface": "ipsec0"} if self._plane == "interface" else {}))
        if self._plane == GRE:
            ends = [f"10.255.0.{side + 1}/30", f"fd00:255::{side + 1}/64"]
            child = {"tunnel": {"interface": "gre1", "addresses": ends, "routes": list((INNER_B, INNER_A)[side])}}
        one = connection(side, {LAN: child})
        ours = (self.topology.ga_address, OUTER_B)[side][self._which]
        theirs = (self.topology.seen_address, OUTER_B)[1 - side][self._which]
        one["local"]["address"], one["remote"]["address"] = ours, theirs
        return text({MAIN: merged(merged(one, self._base), change or {}), **(change or {}).get("beside", {})})

    def configure(self, change: tuple[Mapping[str, Any], Mapping[str, Any]]) -> None:
        """Put configurations in force."""
        for side in (1, 0):
            gateway, config = self.gateways[side], self.config(side, change[side])
            if not gateway.running:
                gateway.configure(config)
                gateway.start()
            elif json.loads(gateway.config_file.read_text()) != json.loads(config):
                gateway.configure(config)
                result = gateway.client.reload()
                assert result.ok, result.message

    def restore(self) -> None:
        """The tunnel is up, once, and packets cross it both ways.

        After a reload both ends may begin at the same moment, and each then keeps its own: a finding, but not of the
        fault that is looked at next.
        """
        self.configure(({}, {}))
        self._up()
        if any(len(ike.children) for ike in self.gateways[0].client.connection(MAIN).ike_sas[1:]):
            for gateway in self.gateways:
                gateway.client.down(MAIN)
            self._up()
        eventually("a ping crosses the tunnel", lambda: self.ping(HOST_B[0]) and self.ping(HOST_B[1]), 20)

    def _up(self) -> None:
        for _ in range(3):
            if self.gateways[0].client.up(MAIN, timeout_s=10).ok:
                break
        for gateway in self.gateways:
            gateway.wait_up(MAIN)

    def ping(self, address: str) -> bool:
        """Whether one is answered."""
        return traffic.ping(self.topology.ns("ha"), address, count=1, wait_s=1).received == 1

    def run(self, lines: tuple[str, ...]) -> None:
        """Commands such as ``ga: iptables …``."""
        for line in lines:
            where, _, command = line.partition(": ")
            self.topology.ns(where).run(shlex.split(command))

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Pings both ways, whether they are answered or not."""
        with contextlib.ExitStack() as stack:
            for source, address in (("ha", HOST_B[0]), ("ha", HOST_B[1]), ("hb", HOST_A[0])):
                argv = ["ping", "-n", "-q", "-i", "0.05", "-s", "200", address]
                stack.callback(end, self.topology.ns(source).popen(argv))
            yield

    @contextmanager
    def cured(self, finding: Finding, side: int) -> Iterator[list[str]]:
        """The finding's own commands for this end have been run; those with something to fill in are left out."""
        namespace = self.topology.ns(("ga", "gb")[side])
        lines = [ln.text for ln in finding.lines if (ln.end, ln.product) == (HERE, "shell")]
        lines = [line for line in lines if not re.search(r"\b(WAN|NETWORK|GATEWAY)\b|sysctl.d|-save|-S ", line)]
        try:
            for line in lines:
                namespace.run(["sh", "-c", line])
            yield lines
        finally:
            for line in (line for line in lines if " -I " in line):
                namespace.run(["sh", "-c", line.replace(" -I ", " -D ", 1)])

    @contextmanager
    def certificates(self, begin: float, stop: float, issuer: pki.Issued | None = None) -> Iterator[None]:
        """Both prove themselves by certificates; gateway B's is valid from ``begin`` to ``stop`` days from now.

        ``issuer`` is its CA, if that is not the one that both believe.
        """
        now = datetime.datetime.now(datetime.UTC)
        ca = pki.root()
        auths = []
        for side, name in enumerate(("moon", "sun")):
            start, days = (now + begin * pki.DAY, stop - begin) if side else (pki.START, 3000)
            one = pki.issue(
                name,
                (issuer or ca) if side else ca,
                number=side + 1,
                names=[f"{name}.example.org"],
                start=start,
                days=days,
            )
            directory = self.gateways[side].directory
            for file, content in (("own.pem", one.pem), ("own.key", one.key_pem), ("ca.pem", ca.pem)):
                (directory / file).touch(mode=0o600)
                (directory / file).write_text(content)
            auths.append({"auth": {"psk": None, "certificate": "own.pem", "key": "own.key", "ca": "ca.pem"}})
        try:
            self.configure((auths[0], auths[1]))
            self.gateways[0].client.up(MAIN, timeout_s=6)
            yield
        finally:
            self.restore()

    @contextmanager
    def noise(self, lines: tuple[str, ...]) -> Iterator[None]:
        """Commands that run beside."""
        with contextlib.ExitStack() as stack:
            for line in lines:
                where, _, command = line.partition(": ")
                stack.callback(end, self.topology.ns(where).popen(shlex.split(command)))
            yield

    def diagnose(self, side: int = 0, seconds: float = SECONDS) -> list[Finding]:
        """What a gateway finds now."""
        found = self.gateways[side].client.diagnose(None, seconds)
        assert not found.blind, found.blind
        return found.findings

    @contextmanager
    def fault(self, fault: Fault, *, back: bool = True) -> Iterator[None]:
        """The fault stands while the block runs; with ``back`` the tunnel is up again after it."""
        try:
            self.configure((fault.a, fault.b))
            if fault.stopped:
                self.gateways[1].stop()
            self.run(fault.make)
            if fault.again:
                for gateway in self.gateways:
                    if gateway.running:
                        gateway.client.down(MAIN)
                self.gateways[0].client.up(MAIN, timeout_s=6)
            with self.traffic(), self.noise(fault.noise):
                settled = fault.settled
                if settled is not None:
                    gateway = self.gateways[fault.side]
                    eventually(f"settled: {fault.name}", lambda: settled(gateway.status()), 30, 0.2)
                yield
        finally:
            self.run(fault.undo)
            if fault.reload:
                self.gateways[0].client.reload()
            if back:
                self.restore()
