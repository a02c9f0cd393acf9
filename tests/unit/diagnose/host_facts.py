"""Facts of the host around that gateway: healthy, and one change at a time away."""

from dataclasses import replace
from ipaddress import IPv4Network, ip_address
from typing import Any

from tests.unit.diagnose.gateway_facts import LAN, MAIN, SA, connected, facts
from xfrmctl.daemon.gather.firewall import counted, moved
from xfrmctl.diagnose.facts import ChildFacts, Facts, HostFacts, somewhere_in
from xfrmctl.diagnose.netfilter import iptables
from xfrmctl.diagnose.netfilter.values import Table
from xfrmctl.model.address import IPAddress
from xfrmctl.model.observed import UNICAST, ObservedDevice, ObservedPolicy, RouteLookup
from xfrmctl.model.sa import DataPlane, Direction
from xfrmctl.netfilter.save import parse

US, PEER = ip_address("172.16.1.1"), ip_address("172.16.2.1")


NEAR, FAR = somewhere_in(IPv4Network("10.1.1.0/24")), somewhere_in(IPv4Network("10.1.2.0/24"))


def route(device: str, kind: str = UNICAST) -> RouteLookup:
    return RouteLookup(asked="ip route get", said=f"{kind} dev {device}", kind=kind, device=device)


def host(**more: Any) -> HostFacts:
    """A healthy host."""
    routes: dict[IPAddress, RouteLookup] = {a: route("wan") for a in (PEER, *FAR)} | {a: route("lan") for a in NEAR}
    devices = {name: ObservedDevice(name=name, index=1, kind="", mtu=1500, up=True) for name in ("lan", "wan")}
    usual: dict[str, Any] = {
        "sysctls": {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "0"},
        "addresses": {US: "wan", ip_address("10.1.1.1"): "lan"},
        "devices": devices,
        "routes": routes | more.pop("other_routes", {}),
    }
    return HostFacts(**usual | more)


def read(text: str) -> list[Table]:
    return iptables.tables_of(parse(text, 4), "iptables-nft")


def child_facts(child: ChildFacts = LAN, *, at: HostFacts | None = None, **more: Any) -> Facts:
    return facts(connections=(replace(MAIN, children=(child,)),), host=at or host(), **more)


def firewall(*rules: str, table: str = "filter") -> tuple[Table, ...]:
    hooks = {"nat": ["POSTROUTING"], "raw": ["PREROUTING"], "mangle": ["POSTROUTING"]}
    chains = hooks.get(table, ["INPUT", "FORWARD", "OUTPUT"])
    text = "".join(f":{chain} ACCEPT [0:0]\n" for chain in chains) + "".join(f"{rule}\n" for rule in rules)
    return tuple(read(f"*{table}\n{text}COMMIT\n"))


def ruled(
    *rules: str, table: str = "filter", child: ChildFacts = LAN, before: tuple[str, ...] = (), **more: Any
) -> Facts:
    """With these rules; ``before`` is how they had counted at the first look."""
    now = firewall(*rules, table=table)
    change = moved(counted(firewall(*before, table=table)), counted(now)) if before else {}
    return child_facts(child, at=host(tables=now, counted=change), **more)


def interface_child() -> tuple[ChildFacts, HostFacts]:
    child = replace(LAN, dataplane=DataPlane.INTERFACE, interface="ipsec0", if_id=0x58000001)
    device = ObservedDevice(name="ipsec0", index=1, kind="xfrm", mtu=1400, up=True, if_id=0x58000001)
    at = host(other_routes={a: route("ipsec0") for a in FAR})
    return child, replace(at, devices={**at.devices, "ipsec0": device})


def two(before: Any, after: Any, **more: Any) -> Facts:
    return child_facts(before=facts(connected(before)).after, after=facts(connected(after)).after, **more)


def counts(packets_in: int, packets_out: int, **more: Any) -> Any:
    inbound, outbound = replace(SA.inbound, packets=packets_in), replace(SA.outbound, packets=packets_out)
    return replace(SA, inbound=inbound, outbound=outbound, **more)


def foreign(**more: Any) -> ObservedPolicy:
    usual: dict[str, Any] = {
        "direction": Direction.OUT,
        "source": IPv4Network("0.0.0.0/0"),
        "destination": IPv4Network("10.1.2.0/25"),
        "priority": 7,
    }
    return ObservedPolicy(**usual | more)


def clamped(*rules: str, mss: int = 1298) -> Facts:
    text = "*mangle\n:POSTROUTING ACCEPT [0:0]\n:XFRMCTL-MSS - [0:0]\n" + "".join(f"{r}\n" for r in rules)
    text += f"[0:0] -A XFRMCTL-MSS -m set --match-set xfrmctl-4-{mss} src,dst -j TCPMSS --set-mss {mss}\nCOMMIT\n"
    return child_facts(at=host(tables=tuple(read(text))))


JUMP = "[0:0] -A POSTROUTING -p tcp -m tcp --tcp-flags SYN,RST SYN -j XFRMCTL-MSS"


def busy(found: Facts) -> Facts:
    """The same, and the tunnel has carried something between the two looks."""
    return replace(found, before=facts(connected(counts(1, 1))).after)
