"""Rules of our own firewall that stand in a tunnel's way, read from the rule sets themselves.

Whether a rule takes a tunnel's packets is decided by what it says, not by what it has counted; so the fault is found
before the first packet is lost. A rule that drops new connections in one direction is an operator's wish: a finding is
what leaves nothing of a direction, not even answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

from xfrmctl.diagnose.facts import ChildFacts, ConnectionFacts, Facts, somewhere_in
from xfrmctl.diagnose.lines import NOTHING_THERE, cisco, shell
from xfrmctl.diagnose.netfilter.spare import spare
from xfrmctl.diagnose.netfilter.values import (
    Addresses,
    Fit,
    Packet,
)
from xfrmctl.diagnose.netfilter.walk import Fate, dropped, partly_dropped, translated
from xfrmctl.diagnose.rules.forwarding import inside_device, is_for_others, networks
from xfrmctl.diagnose.rules.reach import wants_probe
from xfrmctl.diagnose.rules.sas import NUMBER
from xfrmctl.diagnose.vendors import cisco_exemption
from xfrmctl.model.address import IPNetwork
from xfrmctl.model.finding import ERROR, PEER, WARNING, Finding
from xfrmctl.model.sa import DataPlane, Mode

UDP, ICMP, ICMPV6 = 17, 1, 58
MOST_PAIRS = 16
"""Pairs of networks of one child that are followed through the rules."""

_ANYBODY = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}

Flow = tuple[Packet, Packet]
"""What a child carries: outbound before encryption, inbound after decryption."""


def flows(facts: Facts, child: ChildFacts) -> Sequence[Flow]:
    """The forwarded packets of a child, a pair for each two networks; nearly every rule here asks for them."""
    key = child.connection, child.name
    if key not in facts.noted:
        facts.noted[key] = tuple(_flows(facts, child))
    found: Sequence[Flow] = facts.noted[key]
    return found


def _flows(facts: Facts, child: ChildFacts) -> Iterator[Flow]:
    for theirs in child.carries[:MOST_PAIRS]:  # by a tunnel device, from whoever is routed there
        anybody = _ANYBODY[theirs.version]
        yield (
            Packet(source=anybody, destination=theirs, out_dev=child.tunnel),
            Packet(source=theirs, destination=anybody, in_dev=child.tunnel),
        )
    if child.tunnel:
        return
    left = MOST_PAIRS
    for mine in networks(child.local_ts):
        for theirs in networks(child.remote_ts):
            if mine.version != theirs.version or not is_for_others(facts, mine) or not left:
                continue
            left -= 1
            lan = inside_device(facts, mine)
            if child.dataplane is DataPlane.INTERFACE or child.if_id:
                inner_out = inner_in = child.interface or _device_of(facts, child)
                encrypts = False
            else:
                inner_out = facts.host.device_to(somewhere_in(theirs)[0])
                inner_in = _outside(facts, child)
                encrypts = True
            yield (
                Packet(source=mine, destination=theirs, in_dev=lan, out_dev=inner_out, encrypts=encrypts),
                Packet(source=theirs, destination=mine, in_dev=inner_in, out_dev=lan, decrypted=True),
            )


def _device_of(facts: Facts, child: ChildFacts) -> str | None:
    return next((d.name for d in facts.host.devices.values() if d.if_id == child.if_id), None)


def _outside(facts: Facts, child: ChildFacts) -> str | None:
    connection = facts.by_name[child.connection]
    if connection.local is not None and connection.local in facts.host.addresses:
        return facts.host.addresses[connection.local]
    return facts.host.device_to(connection.remote) if connection.remote is not None else None


def _always_dropped(facts: Facts, hooks: tuple[str, ...], packet: Packet) -> Fate | None:
    """Who drops these packets, whether they begin something or answer."""
    for hook in hooks:
        later = dropped(facts.host.tables, hook, replace(packet, state="established"))
        if later is not None and dropped(facts.host.tables, hook, packet) is not None:
            return later
    return None


def forward_drops(facts: Facts) -> Iterator[Finding]:
    """FORWARD lets nothing of a direction through."""
    for child in facts.children():
        if child.mode is not Mode.TUNNEL and not child.tunnel:
            continue
        done: set[str] = set()
        for out, back in flows(facts, child):
            for name, packet, when in (
                ("forward-drop-outbound", out, "before they are encrypted"),
                ("forward-drop-inbound", back, "after they were decrypted"),
            ):
                fate = _always_dropped(facts, ("forward",), packet) if name not in done else None
                if fate is not None:
                    done.add(name)
                    yield _forward(facts, child, name, packet, when, fate)
            first = dropped(facts.host.tables, "forward", out)
            if not done and first is not None and dropped(facts.host.tables, "forward", back) is not None:
                done.add("forward-drop-outbound")  # answers would pass, but nothing can begin
                yield _forward(facts, child, "forward-drop-outbound", out, "before they are encrypted", first)


def _forward(facts: Facts, child: ChildFacts, name: str, packet: Packet, when: str, fate: Fate) -> Finding:
    moved = facts.host.counted.get(fate.key, 0)
    return Finding(
        id=name,
        severity=ERROR,
        connection=child.connection,
        child=child.name,
        symptom=f"packets from {packet.source} to {packet.destination} are dropped by our own firewall, {when}",
        evidence=[fate.text, f"it has counted {fate.packets or 0} packets, {moved:+d} in {facts.seconds:.1f} s"],
        cause="no rule before it accepts them",
        cure_here="accept the tunnel's networks before that rule",
        cure_peer=NOTHING_THERE,
        lines=[spare(fate, *between(packet))],
    )  # fmt: skip


def between(packet: Packet) -> tuple[str, str]:
    """Packets of these two networks, as iptables and as nft spell them."""
    ip = "ip" if packet.source.version == 4 else "ip6"
    plain = f"-s {packet.source} -d {packet.destination}"
    return plain, f"{ip} saddr {packet.source} {ip} daddr {packet.destination}"


def forward_drops_a_part(facts: Facts) -> Iterator[Finding]:
    """Rules about the tunnel's addresses that drop packets just now."""
    seen: set[tuple[str, str, str]] = set()
    for child in (child for child in facts.children() if not child.tunnel):
        for pair in flows(facts, child):
            for packet in pair:
                for fate in partly_dropped(facts.host.tables, "forward", replace(packet, state="established")):
                    moved = facts.host.counted.get(fate.key, 0)
                    about = fate.rule is not None and any(isinstance(c, Addresses) for c in fate.rule.conditions)
                    if moved > 0 and about and fate.key not in seen:
                        seen.add(fate.key)
                        yield Finding(
                            id="forward-drop-part", severity=WARNING, connection=child.connection, child=child.name,
                            symptom=f"some packets from {packet.source} to {packet.destination} are dropped by our own "
                            "firewall",
                            evidence=[fate.text, f"{moved:+d} packets in {facts.seconds:.1f} s"],
                            cause="the rule is about a part of what the tunnel carries",
                            cure_here="see whether that is meant; if not, accept those packets before it",
                            cure_peer=NOTHING_THERE,
                            lines=[spare(fate, *between(packet))],
                        )  # fmt: skip


def nat_eats(facts: Facts) -> Iterator[Finding]:
    """Source NAT comes before the policy: what it has changed is no longer of the selectors."""
    for child in (child for child in facts.children() if not child.tunnel):
        for out, _ in flows(facts, child):
            fate = translated(facts.host.tables, out)
            if fate is None or fate.rule is None or _stays_inside(fate.rule.text, out.source):
                continue
            moved = facts.host.counted.get(fate.key, 0)
            some = "" if fate.fit is Fit.ALL else "some of the "
            yield Finding(
                id="nat-before-policy",
                severity=ERROR,
                connection=child.connection,
                child=child.name,
                symptom=f"{some}packets from {out.source} to {out.destination} get another source address, and then "
                "no policy is for them: they leave in clear, or not at all",
                evidence=[fate.text, f"it has counted {fate.packets or 0} connections, {moved:+d} in "
                          f"{facts.seconds:.1f} s"],
                cause="source NAT happens before the kernel looks for the policy, and no exemption comes before it",
                cure_here="exempt what is for the tunnel, before that rule; connections that stand keep their "
                "translation until they end (conntrack -D)",
                cure_peer="where it translates sources as well, it needs the same exemption: strongSwan and libreswan "
                "leave that to its firewall",
                lines=[spare(fate, "-m policy --dir out --pol ipsec", "rt ipsec exists"),
                       shell("iptables -t nat -I POSTROUTING -m policy --dir out --pol ipsec -j ACCEPT", PEER),
                       *cisco_exemption(out.destination, out.source)],
            )  # fmt: skip
            break


def _stays_inside(rule: str, source: IPNetwork) -> bool:
    """Whether a translation keeps to the selectors: NAT into the tunnel, on purpose."""
    words = rule.replace("snat to", "--to-source").split()
    target = words[words.index("--to-source") + 1] if "--to-source" in words[:-1] else ""
    try:
        return ip_address(target.partition("-")[0].partition(":")[0]) in source
    except ValueError:
        return False


def gateway_drops(facts: Facts) -> Iterator[Finding]:
    """INPUT or OUTPUT drop what the gateways say to each other: IKE, ESP, ESP in UDP."""
    for connection in facts.connections:
        local, remote = connection.local, connection.remote
        if local is None or remote is None:
            continue
        device = facts.host.device_to(remote)
        there = Packet(source=ip_network(local), destination=ip_network(remote), in_dev="", out_dev=device)
        back = Packet(source=ip_network(remote), destination=ip_network(local), out_dev="",
                      in_dev=facts.host.addresses.get(local) or device)  # fmt: skip
        for what, protocol, port in _spoken(facts, connection):
            for hooks, packet in ((("prerouting", "input"), back), (("output", "postrouting"), there)):
                fate = _always_dropped(facts, hooks, replace(packet, protocol=protocol, port=port))
                if fate is not None:
                    yield _gateway(connection, what, packet, fate, protocol, port)
                    break


def _spoken(facts: Facts, connection: ConnectionFacts) -> list[tuple[str, int, int | None]]:
    """What the two say to each other: name, protocol, port. Where nobody answers, that may also be ESP in UDP."""
    sas = [sa for child in connection.children for sa in facts.up(child)]
    info = facts.infos.get(connection.name)
    silent = info is not None and not sas and wants_probe(info)
    protocols = {child.protocol for child in connection.children}
    found: list[tuple[str, int, int | None]] = [("ike", UDP, 500)]
    if silent or any(sa.encap for sa in sas):
        found.append(("esp-in-udp", UDP, 4500))
    if not any(sa.encap for sa in sas):
        found += [(p.name.lower(), NUMBER[p], None) for p in NUMBER if p in protocols]
    return found


def _gateway(
    connection: ConnectionFacts, what: str, packet: Packet, fate: Fate, protocol: int, port: int | None
) -> Finding:
    plain = f"-p {'udp' if port else protocol}" + (f" --dport {port}" if port else "")
    native = f"udp dport {port}" if port else f"meta l4proto {protocol}"
    return Finding(
        id=f"firewall-drops-{what}",
        severity=ERROR,
        connection=connection.name,
        symptom=f"our own firewall drops {what} from {packet.source.network_address} to "
        f"{packet.destination.network_address}",
        evidence=[fate.text],
        cause="no rule before it accepts what the two gateways say to each other",
        cure_here="accept it before that rule; UDP 500 and 4500, and ESP (protocol 50), both ways",
        cure_peer=NOTHING_THERE,
        lines=[spare(fate, plain, native)],
    )


_TOO_BIG = {
    4: ("-p icmp --icmp-type fragmentation-needed", "icmp type destination-unreachable icmp code frag-needed"),
    6: ("-p icmpv6 --icmpv6-type packet-too-big", "icmpv6 type packet-too-big"),
}
"""What says that a packet is too large, as iptables and as nft spell it."""


def frag_needed_drops(facts: Facts) -> Iterator[Finding]:
    """OUTPUT drops what would tell inner hosts that their packets are too large: a black hole on the inside."""
    for child in facts.children():
        for out, _ in flows(facts, child):
            protocol = ICMP if out.source.version == 4 else ICMPV6
            error = Packet(source=out.destination, destination=out.source, in_dev="", out_dev=out.in_dev,
                           protocol=protocol, state="related")  # fmt: skip
            fate = next(
                filter(None, (dropped(facts.host.tables, hook, error) for hook in ("output", "postrouting"))), None
            )
            if fate is not None:
                yield Finding(
                    id="icmp-to-hosts-dropped", severity=WARNING, connection=child.connection, child=child.name,
                    symptom=f"hosts in {out.source} never learn that a packet is too large for the tunnel",
                    evidence=[fate.text],
                    cause="our own firewall drops the ICMP errors that this gateway sends (frag-needed, packet too "
                    "big): whatever the MSS clamp does not help, as UDP and tunnels within, meets a black hole",
                    cure_here="let ICMP errors out",
                    cure_peer="the same for the hosts behind it, if its firewall does the same",
                    lines=[spare(fate, *_TOO_BIG[out.source.version]),
                           *(shell(f"{tool} -I OUTPUT {_TOO_BIG[version][0]} -j ACCEPT", PEER)
                             for version, tool in ((4, "iptables"), (6, "ip6tables")) if version == out.source.version),
                           cisco("interface INSIDE", " ip unreachables" if out.source.version == 4
                                 else " ipv6 unreachables")],
                )  # fmt: skip
                break
