"""A gateway as a value: the kernel's tables by hand, so that a test says everything that is there.

::

    10.1.1.0/24 ── lan  gateway  wan ── 172.16.1.254 ── peer 172.16.2.1 ── 10.1.2.0/24
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from errno import EHOSTUNREACH, EXDEV
from ipaddress import ip_address, ip_network

from xfrmctl.journey.world import NamedRules
from xfrmctl.model.address import IPAddress, IPNetwork
from xfrmctl.model.iana import Encr, ProtocolId
from xfrmctl.model.observed import (
    LOCAL,
    NOWHERE,
    UNICAST,
    Defaults,
    ObservedDevice,
    ObservedPolicy,
    ObservedSa,
    ObservedTemplate,
    RouteLookup,
)
from xfrmctl.model.sa import Direction, Encap
from xfrmctl.model.suite import Suite
from xfrmctl.netfilter.nft import NftRuleSet
from xfrmctl.netfilter.packet import ESP, SYN, TCP, Packet
from xfrmctl.netfilter.save import parse

OUR, PEER = ip_address("172.16.1.1"), ip_address("172.16.2.1")
NEAR, FAR = ip_network("10.1.1.0/24"), ip_network("10.1.2.0/24")
A, B = ip_address("10.1.1.10"), ip_address("10.1.2.10")
REQID = 0x58000001
IF_ID = 0x58000001
GCM = Suite(ProtocolId.ESP, Encr.AES_GCM_16, 256)

LAN = ObservedDevice(name="lan", index=2, mtu=1500, up=True, addresses=(ip_address("10.1.1.1"),))
WAN = ObservedDevice(name="wan", index=3, mtu=1500, up=True, addresses=(OUR, ip_address("fe80::1")))
TUNNEL = ObservedDevice(name="ipsec0", index=4, mtu=1446, up=True, kind="xfrm", if_id=IF_ID)


def template(
    source: IPAddress = OUR, destination: IPAddress = PEER, mode: str = "tunnel", reqid: int = REQID
) -> ObservedTemplate:
    return ObservedTemplate(source=source, destination=destination, protocol=ESP, mode=mode, reqid=reqid)


def policies(near: IPNetwork = NEAR, far: IPNetwork = FAR, priority: int = 100, if_id: int = 0) -> list[ObservedPolicy]:
    """Out, in and fwd of one child."""
    out = ObservedPolicy(
        direction=Direction.OUT, source=near, destination=far, priority=priority, if_id=if_id, templates=(template(),)
    )
    back = (template(PEER, OUR),)
    return [out] + [
        replace(out, direction=direction, source=far, destination=near, templates=back)
        for direction in (Direction.IN, Direction.FWD)
    ]


def sas(encap: bool = False, if_id: int = 0) -> list[ObservedSa]:
    """One each way."""
    ports = Encap(4500, 4500) if encap else None
    return [
        ObservedSa(
            source=source,
            destination=destination,
            protocol=ESP,
            spi=spi,
            reqid=REQID,
            mode="tunnel",
            name="aead rfc4106(gcm(aes)) 128",
            suite=GCM,
            encap=ports,
            if_id=if_id,
        )
        for source, destination, spi in ((OUR, PEER, 0x1001), (PEER, OUR, 0x1002))
    ]


@dataclass
class Gateway:
    """Routes are prefixes to devices, the longest first; ``mtus`` what routes say of their MTU."""

    policies: Sequence[ObservedPolicy] = field(default_factory=policies)
    sas: Sequence[ObservedSa] = field(default_factory=sas)
    devices: Mapping[str, ObservedDevice] = field(default_factory=lambda: {"lan": LAN, "wan": WAN})
    defaults: Defaults = field(default_factory=Defaults)
    native: NftRuleSet = field(default_factory=NftRuleSet)
    iptables: str = ""
    routes: Mapping[str, str] = field(default_factory=lambda: {"10.1.1.0/24": "lan", "0.0.0.0/0": "wan"})
    mtus: Mapping[str, int] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, set[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def route(self, packet: Packet, iif: str = "") -> RouteLookup:
        asked = f"ip route get {packet.destination} from {packet.source}" + (f" iif {iif}" if iif else "")
        if iif and self.sysctls.get(f"net.ipv4.conf.{iif}.rp_filter") == "1" and self._to(packet.source) != iif:
            return RouteLookup(asked=asked, said="EXDEV", kind=NOWHERE, errno=EXDEV)
        found = self._answer(asked, packet.destination)
        if iif and found.kind == UNICAST and self.sysctls.get(f"net.ipv4.conf.{iif}.forwarding") == "0":
            return RouteLookup(asked=asked, said="EHOSTUNREACH", kind=NOWHERE, errno=EHOSTUNREACH)
        return found

    def reverse(self, address: IPAddress, mark: int = 0) -> RouteLookup:
        return self._answer(f"ip route get {address}", address)

    def rules(self, version: int) -> Sequence[NamedRules]:
        return [NamedRules("iptables", parse(self.iptables, 4))] if self.iptables and version == 4 else []

    def in_set(self, name: str, flags: tuple[str, ...], packet: Packet) -> bool | None:
        self.asked.append(name)
        words = ",".join(str(packet.source if flag == "src" else packet.destination) for flag in flags)
        return words in self.sets[name] if name in self.sets else None

    def sysctl(self, name: str) -> str | None:
        return self.sysctls.get(name)

    def _to(self, address: IPAddress) -> str:
        fitting = [ip_network(n) for n in self.routes if address in ip_network(n)]
        best = max(fitting, key=lambda n: n.prefixlen, default=None)
        return "" if best is None else self.routes[str(best)]

    def _answer(self, asked: str, address: IPAddress) -> RouteLookup:
        if any(address in d.addresses for d in self.devices.values()):
            return RouteLookup(asked=asked, said="local dev lo", kind=LOCAL, device="lo")
        device = self._to(address)
        if not device:
            return RouteLookup(asked=asked, said="ENETUNREACH", kind=NOWHERE, errno=101)
        source = next((a for a in self.devices[device].addresses if a.version == 4), None)
        return RouteLookup(
            asked=asked,
            said=f"unicast dev {device}",
            kind=UNICAST,
            device=device,
            source=source,
            mtu=self.mtus.get(str(address)),
        )


def syn(source: IPAddress = A, destination: IPAddress = B, **more: object) -> Packet:
    """The first packet of a connection to port 443."""
    values: dict[str, object] = {
        "source": source,
        "destination": destination,
        "protocol": TCP,
        "destination_port": 443,
        "tcp_flags": SYN,
        "mss": 1460,
    }
    return Packet(**(values | more))  # type: ignore[arg-type]
