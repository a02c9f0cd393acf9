"""What becomes of ICMP on the way: filters, an old router, and somebody who forges errors.

Filters are tables of nf_tables of their own; each change is one process in each namespace that it concerns.
"""

from tests.lab.icmp_attacks import send, send_fragmented
from tests.unit.guard.icmp_errors import Error, esp, udp
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.topology import Topology

_FRAG_NEEDED = "icmp type destination-unreachable icmp code frag-needed"
_TOO_BIG = "icmpv6 type packet-too-big"
_DROP = (f"{_FRAG_NEEDED} drop", f"{_TOO_BIG} drop")
_ZERO = (f"{_FRAG_NEEDED} icmp mtu set 0", f"{_TOO_BIG} icmpv6 mtu set 0")
_FORGED_MTU = {4: 600, 6: 1280}
"""Low, and not so low that a kernel would not believe it."""


class Weather:
    """The fate of ICMP in a topology."""

    def __init__(self, topology: Topology) -> None:
        self._router = topology.ns("r")
        self._hosts = topology.ns("ha"), topology.ns("hb")
        self._rules: dict[str, tuple[str, ...]] = {}

    def become(self, icmp: str) -> None:
        """Put a value of the column ``icmp`` in force; the forger waits to be asked."""
        router = {"outer": _DROP, "both": _DROP, "zero": _ZERO}.get(icmp, ())
        hosts = _DROP if icmp in ("hosts", "both") else ()
        self._filter(self._router, "output", router)
        for host in self._hosts:
            self._filter(host, "input", hosts)

    def _filter(self, namespace: Namespace, hook: str, rules: tuple[str, ...]) -> None:
        if self._rules.get(namespace.name, ()) == rules:
            return
        self._rules[namespace.name] = rules
        lines = ["table inet weather", "delete table inet weather"]
        if rules:
            chain = [f"type filter hook {hook} priority 0", *rules]
            lines += ["table inet weather {", f"chain {hook} {{", *chain, "}", "}"]
        namespace.run(["nft", "-f", "-"], stdin="".join(f"{line}\n" for line in lines))

    def forge(self, icmp: str, gateway: str, peer: str) -> None:
        """What somebody who is not on the path, so knows no SPI, sends to a gateway in the router's name."""
        version = 6 if ":" in peer else 4
        mtu, reporter = _FORGED_MTU[version], "fd16:1::fe" if version == 6 else "172.16.1.254"
        lies = {17: udp(4500, 4500, 1480, bytes(40)), 50: esp(0xDEADBEEF, 1)}
        lies[1 if version == 4 else 58] = b"\0\0\0\0\x12\x34\0\x01" if version == 4 else b"\x81\0\0\0\x12\x34\0\x01"
        for protocol, payload in lies.items():
            error = Error(gateway, peer, payload, mtu, protocol, reporter=reporter)
            if icmp == "fragments":
                send_fragmented(self._router, error, reporter)
            else:
                send(self._router, error)
