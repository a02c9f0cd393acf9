"""Two gateways driven through the kernel package alone: no IKE, keys by hand."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

from xfrmctl.kernel.desired import Action, Clamp, Desired, Policy, PolicyKey, Route, Template, XfrmInterface
from xfrmctl.kernel.ownership import if_id_for, reqid_for
from xfrmctl.kernel.system import LinuxKernel
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.topology import INNER_A, INNER_B, OUTER_A, OUTER_B, Topology
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.iana import Encr, Integ, ProtocolId
from xfrmctl.model.sa import DataPlane, Direction, KernelSa, SaKeys
from xfrmctl.model.suite import Suite

GCM = Suite(ProtocolId.ESP, Encr.AES_GCM_16, 128)
SUITES = {
    "aes128gcm16": GCM,
    "aes256gcm16-esn": Suite(ProtocolId.ESP, Encr.AES_GCM_16, 256, esn=True),
    "aes128-sha256": Suite(ProtocolId.ESP, Encr.AES_CBC, 128, Integ.HMAC_SHA2_256_128),
    "aes192-sha384": Suite(ProtocolId.ESP, Encr.AES_CBC, 192, Integ.HMAC_SHA2_384_192),
    "aes256-sha512-esn": Suite(ProtocolId.ESP, Encr.AES_CBC, 256, Integ.HMAC_SHA2_512_256, esn=True),
    "chacha20poly1305": Suite(ProtocolId.ESP, Encr.CHACHA20_POLY1305, 256),
}
NUMBER = 1
REQID, IF_ID = reqid_for(NUMBER), if_id_for(NUMBER)
PRIORITY, METRIC, GUARD_METRIC = 1000, 10, 9000
TUNNEL_MTU = 1400
_libc = ctypes.CDLL(None, use_errno=True)


def keys_of(suite: Suite, salt: int = 0) -> SaKeys:
    """Keys of the right size; different for each salt."""
    facts = suite.encr_facts
    integ = suite.integ_facts
    return SaKeys(
        bytes((i + salt) % 256 for i in range(suite.key_bits // 8 + facts.salt)),
        bytes((i * 3 + salt) % 256 for i in range(integ.key)) if integ else b"",
    )


@contextmanager
def inside(namespace: Namespace) -> Iterator[None]:
    """This thread, and the programs it starts, in a namespace."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        assert _libc.setns(there, 0) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        assert _libc.setns(back, 0) == 0
        os.close(there)
        os.close(back)


class Gateway:
    """One gateway's kernel. ``side`` is 0 for gateway A, 1 for gateway B."""

    def __init__(
        self,
        topology: Topology,
        side: int,
        *,
        plane: DataPlane = DataPlane.POLICY,
        outer: int = 4,
        firewall: FirewallBackend = FirewallBackend.AUTO,
    ) -> None:
        self.ns = topology.ns(("ga", "gb")[side])
        self.plane = plane
        family = 0 if outer == 4 else 1
        outers = OUTER_A[family], OUTER_B[family]
        self.local, self.remote = (ip_address(outers[side]), ip_address(outers[1 - side]))
        inners = INNER_A, INNER_B
        self.pairs = [
            (ip_network(mine), ip_network(theirs)) for mine, theirs in zip(inners[side], inners[1 - side], strict=True)
        ]
        self.if_id = IF_ID if plane is DataPlane.INTERFACE else 0
        with inside(self.ns):
            self.kernel = LinuxKernel(firewall)

    def converge(self, desired: Desired) -> None:
        """Converge, in the gateway's namespace, to the end."""
        with inside(self.ns):
            report = self.kernel.converge(desired)
            assert report.problems == (), report.problems
            assert self.kernel.plan(desired).render() == ""

    def desired(self, *, up: bool = True, mss: int = 0, mtu: int = TUNNEL_MTU) -> Desired:
        """The child as it is wanted: up (or trapped), or failing closed."""
        policies: dict[PolicyKey, Policy] = {}
        if self.plane is DataPlane.POLICY or up:
            for mine, theirs in self.pairs:
                for direction in Direction:
                    out = direction is Direction.OUT
                    key = PolicyKey(direction, mine if out else theirs, theirs if out else mine, if_id=self.if_id)
                    ends = (self.local, self.remote) if out else (self.remote, self.local)
                    template = Template(*ends, REQID) if up else None
                    policies[key] = Policy(key, Action.ALLOW if up else Action.BLOCK, PRIORITY, template)
        interfaces: dict[str, XfrmInterface] = {}
        routes: set[Route] = set()
        if self.plane is DataPlane.INTERFACE:
            routes |= {Route(theirs, None, GUARD_METRIC) for _, theirs in self.pairs}
            if up:
                interfaces["ipsec1"] = XfrmInterface("ipsec1", self.if_id, mtu)
                routes |= {Route(theirs, "ipsec1", METRIC, source=mine[1]) for mine, theirs in self.pairs}
        clamps = {Clamp(mine, theirs, mss) for mine, theirs in self.pairs} if mss else set()
        return Desired(policies, interfaces, frozenset(routes), frozenset(clamps))

    def sas(self, suite: Suite = GCM, *, spi: int = 0x1000, **changes: object) -> list[tuple[KernelSa, SaKeys]]:
        """Both directions; the SPIs (``spi`` plus 1 or 2) and the keys agree with the other gateway's."""
        found = []
        for direction in (Direction.OUT, Direction.IN):
            source, destination = (self.local, self.remote) if direction is Direction.OUT else (self.remote, self.local)
            salt = 1 if int(source) < int(destination) else 2
            fields: dict[str, object] = {
                "direction": direction,
                "source": source,
                "destination": destination,
                "spi": spi + salt,
                "reqid": REQID,
                "suite": suite,
                "if_id": self.if_id,
            }
            found.append((KernelSa(**(fields | changes)), keys_of(suite, salt)))  # type: ignore[arg-type]
        return found


@contextmanager
def gateways(topology: Topology, **options: object) -> Iterator[tuple[Gateway, Gateway]]:
    """Both gateways; their sockets are closed at the end."""
    both = (Gateway(topology, 0, **options), Gateway(topology, 1, **options))  # type: ignore[arg-type]
    try:
        yield both
    finally:
        for one in both:
            one.kernel.close()
