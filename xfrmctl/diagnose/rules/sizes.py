"""Path MTU and MSS: black holes, written sizes that are wrong, clamps that do not reach their packets."""

from collections.abc import Iterator

from xfrmctl.diagnose.facts import ChildFacts, Facts
from xfrmctl.diagnose.lines import (
    CHILD,
    KERNEL_NETLINK,
    NOTHING_THERE,
    cisco,
    libreswan,
    shell,
    strongswan,
    xfrmctl,
    xfrmctl_there,
)
from xfrmctl.diagnose.netfilter.spare import listing
from xfrmctl.diagnose.netfilter.values import MSS, Packet
from xfrmctl.diagnose.netfilter.walk import Fate, fates
from xfrmctl.diagnose.rules.firewall import flows
from xfrmctl.diagnose.rules.sas import own_child
from xfrmctl.diagnose.vendors import fragmentation_lines
from xfrmctl.model.finding import ERROR, WARNING, Finding, Line
from xfrmctl.model.snapshot import ChildInfo

CLAMPS = ("XFRMCTL-MSS", "xfrmctl")
"""The chain of iptables, the table of nf_tables that clamp (:mod:`xfrmctl.kernel.ownership`)."""

VARIANTS = ("iptables-nft", "iptables-legacy")
DEVICE_CLAMP = "xfrmctl-tunnels"
"""The table of nf_tables that clamps TCP through tunnel devices, whatever their MTU is."""

TCP = 6
_CLAMP_THERE = "nothing: a clamp at this end is for both directions"

WASTE = 64
"""Bytes. A written MTU that is so much below what the path carries is a finding; less is somebody's caution."""


def black_hole(facts: Facts) -> Iterator[Finding]:
    """The path is narrower than our link, and no router says so: found by probes, and lived with."""
    for child in facts.children():
        probe = facts.paths.get(child.connection)
        found = next((sa.mtu for sa in facts.up(child) if sa.mtu is not None and sa.mtu.path is not None), None)
        if found is None or found.path is None or child.mtu is not None or probe is None:
            continue
        path = found.path
        if path.mtu >= path.link_mtu or probe.asked <= path.mtu or probe.fits or probe.told is not None:
            continue
        if not probe.fragments:
            continue  # the answer of a peer that believes in less is fragmented: the echo proves nothing
        yield Finding(
            id="path-mtu-black-hole", severity=WARNING, connection=child.connection, child=child.name,
            symptom=f"the path carries {path.mtu} bytes, our link {path.link_mtu}, and nobody says so: larger packets "
            "vanish",
            evidence=[f"{path.path}: {path.mtu} by {path.source} ({path.confidence}), {path.probes_lost} of "
                      f"{path.probes_sent} probes lost",
                      f"an ICMP echo of {probe.asked} bytes with DF: no answer and no ICMP error on the wire"],
            cause="ICMP errors (frag-needed, packet too big) are filtered on the way. Our probes have found the size, "
            f"and MTU {found.inner_mtu} and the MSS follow; others on that path are not so lucky",
            cure_here="nothing: what passes the tunnel fits. Have ICMP type 3 code 4 (ICMPv6 type 2) let through, so "
            "that changes are seen at once",
            cure_peer=f"it has to find the same: an MTU of {found.inner_mtu} inside, or a clamp to {path.mtu} outside",
            lines=[xfrmctl_there("mtu: auto", CHILD),
                   strongswan(f"mtu = {found.inner_mtu}", KERNEL_NETLINK),
                   libreswan(f"mtu={found.inner_mtu}"),
                   cisco("interface Tunnel0", f" ip mtu {found.inner_mtu}",
                         f" ip tcp adjust-mss {found.mss_ipv4 or found.inner_mtu - 40}")],
        )  # fmt: skip
        return


def static_mtu(facts: Facts) -> Iterator[Finding]:
    """A written MTU that the path does not carry."""
    for child in facts.children():
        if child.mtu is None or not facts.up(child):
            continue
        probe = facts.paths.get(child.connection)
        link = next((sa.mtu.path.link_mtu for sa in facts.up(child) if sa.mtu and sa.mtu.path), None)
        if link is not None and child.mtu > link:
            seen = f"our own link to the peer carries {link}"
        elif probe is not None and probe.asked == child.mtu and not probe.fits:
            told = f"a router on the way says {probe.told}" if probe.told is not None else "and no router says why"
            seen = f"an ICMP echo of {child.mtu} bytes with DF is not answered, smaller ones are; {told}"
        else:
            continue
        yield Finding(
            id="static-mtu-too-large", severity=ERROR, connection=child.connection, child=child.name,
            symptom=f"mtu: {child.mtu} is written, and the path does not carry that much: full packets vanish",
            evidence=[f"{child.connection}.children.{child.name}.mtu: {child.mtu}", seen],
            cause="a written MTU is taken as it is, and nothing is probed",
            cure_here="leave the key out: what the path carries is then found, and kept",
            cure_peer="if its MTU or MSS was written to match, lower it there as well",
            lines=[xfrmctl("mtu: auto", own_child(child)), xfrmctl("xfrmctl reload"), *_found_there()],
        )  # fmt: skip


def small_mtu(facts: Facts) -> Iterator[Finding]:
    """A written MTU that is well below what the path carries, or too small for IPv6 inside."""
    for child in facts.children():
        probe, sas = facts.paths.get(child.connection), facts.up(child)
        if child.mtu is None or probe is None or probe.carries is None or not sas:
            continue
        mtu, fragments = sas[-1].mtu, sas[-1].fragments
        lost = fragments is not None and fragments.ipv6_lost
        if mtu is None or mtu.outer_mtu != child.mtu or not (lost or probe.carries - child.mtu >= WASTE):
            continue
        effect = "every packet inside is smaller than it could be" if not lost else \
            "larger IPv6 packets than that are lost, for IPv6 is never told of less than 1280"  # fmt: skip
        yield Finding(
            id="static-mtu-too-small", severity=ERROR if lost else WARNING,
            connection=child.connection, child=child.name,
            symptom=f"mtu: {child.mtu} is written, {mtu.inner_mtu} bytes fit inside, and the path carries more: "
            f"{effect}",
            evidence=[f"{child.connection}.children.{child.name}.mtu: {child.mtu}",
                      f"an ICMP echo of {probe.carries} bytes with DF is answered"],
            cause="a written MTU is taken as it is, and nothing is probed. Right it is only if a second path, that "
            "takes over at times, carries no more",
            cure_here="leave the key out: what the path carries is then found, and followed when it changes",
            cure_peer="if its MTU or MSS was written to match, take it back there as well",
            lines=[xfrmctl("mtu: auto", own_child(child)), xfrmctl("xfrmctl reload"), *_found_there()],
        )  # fmt: skip


def _found_there() -> list[Line]:
    """The peer's own discovery, in place of a written size. 0 is libreswan's default."""
    return [
        xfrmctl_there("mtu: auto", CHILD),
        strongswan("mtu = 0", KERNEL_NETLINK),
        libreswan("mtu=0"),
        cisco("interface Tunnel0", " no ip mtu", " tunnel path-mtu-discovery"),
    ]


def fragments(facts: Facts) -> Iterator[Finding]:
    """Fragments to or from the peer are dropped on the way."""
    for connection in facts.connections:
        probe = facts.paths.get(connection.name)
        if probe is None or probe.fragments:
            continue
        yield Finding(
            id="fragments-dropped", severity=WARNING, connection=connection.name,
            symptom=f"fragments to {connection.remote} or back are lost on the way",
            evidence=["ICMP echo in one packet: answered; in fragments: not answered"],
            cause="a firewall on the way, or at the peer, drops fragments. IKE with certificates, and ESP that is "
            "fragmented after encryption, would be lost there",
            cure_here="keep IKE fragmentation on (ike.fragmentation, RFC 7383), and DF on ESP (df: copy)",
            cure_peer="the same",
            lines=fragmentation_lines(connection.name),
        )  # fmt: skip


def clamps(facts: Facts) -> Iterator[Finding]:
    """The MSS clamp of a child does not stand, or packets never come to it."""
    if facts.after is None:
        return
    # a size that changes just now has its clamp a moment later
    seen = (facts.before or facts.after).clamps + facts.after.clamps
    standing = {(c.family, c.mss) for c in seen if c.standing}
    for child in facts.children():
        for sa in facts.up(child):
            shadow = _shadow(facts, sa, child)  # which is why it does not stand
            if shadow is not None:
                yield shadow
                break
            wanted = [(4, sa.mtu.mss_ipv4), (6, sa.mtu.mss_ipv6)] if sa.mtu is not None else []
            if child.tunnel is not None:
                missing = any(size for _, size in wanted) and not _clamps_devices(facts)
                if missing:
                    yield _missing(facts, child.connection, child.name, f"through {child.tunnel}")
                break
            gone = [(family, size) for family, size in wanted if size and (family, size) not in standing]
            if gone:
                text = ", ".join(f"IPv{family} to {size}" for family, size in gone)
                yield _missing(facts, child.connection, child.name, text)
                break


def _clamps_devices(facts: Facts) -> bool:
    """Whether the table stands that clamps by the devices' group; where no rules were read, nobody knows."""
    return not facts.host.tables or any(table.name == DEVICE_CLAMP for table in facts.host.tables)


def _missing(facts: Facts, connection: str, child: str, text: str) -> Finding:
    problems = facts.after.kernel.problems if facts.after is not None else []
    return Finding(
        id="mss-clamp-missing", severity=ERROR, connection=connection, child=child,
        symptom=f"the MSS clamp does not stand ({text}): TCP sends segments that are too large for the tunnel",
        evidence=[*problems[:3], f"wanted: {text}; standing for this child: none"],
        cause="another program has removed the rules, or they could not be set",
        cure_here="see what changes the firewall; the clamp is put back within the minute, and at once by a reload",
        cure_peer=_CLAMP_THERE,
        lines=[shell("iptables-save -t mangle | grep XFRMCTL; nft list ruleset | grep -A9 xfrmctl"),
               xfrmctl("xfrmctl reload")],
    )  # fmt: skip


def _shadow(facts: Facts, sa: ChildInfo, child: ChildFacts) -> Finding | None:
    if sa.mtu is None or not facts.host.tables or child.tunnel:
        return None
    for out, back in flows(facts, child):
        if (sa.mtu.mss_ipv4 if out.source.version == 4 else sa.mtu.mss_ipv6) is None:
            continue
        for packet in (out, back):
            ended = _before_clamp(facts, packet)
            if ended is not None:
                return Finding(
                    id="mss-clamp-shadowed", severity=ERROR, connection=child.connection, child=child.name,
                    symptom=f"TCP from {packet.source} to {packet.destination} is not clamped: packets leave the chain "
                    "before they come to the clamp",
                    evidence=[ended.text, "our clamp stands behind it"],
                    cause="a rule before ours accepts them",
                    cure_here="remove that rule from the mangle table, or put it behind ours; a reload puts ours first",
                    cure_peer=_CLAMP_THERE,
                    lines=[listing(ended), xfrmctl("xfrmctl reload")],
                )  # fmt: skip
    return None


def _before_clamp(facts: Facts, packet: Packet) -> Fate | None:
    """The rule that ends a chain before its clamp; None where the clamp is met, or where there is none to be seen."""
    syn = Packet(source=packet.source, destination=packet.destination, in_dev=packet.in_dev, out_dev=packet.out_dev,
                 protocol=TCP, syn=True, decrypted=packet.decrypted, encrypts=packet.encrypts)  # fmt: skip
    for found in fates(facts.host.tables, "postrouting", syn):
        chain, table = found[-1].chain, found[-1].table
        ours = [c for c in table.chains.values() if c.name == CLAMPS[0] or table.name == CLAMPS[1]]
        jumps = any(rule.target == CLAMPS[0] for rule in chain.rules) or table.name == CLAMPS[1]
        if not ours or not jumps:
            continue
        if not any(f.verdict == MSS for f in found) and found[-1].rule is not None:
            return found[-1]
    return None


def mixed_variants(facts: Facts) -> Iterator[Finding]:
    """Rules in both variants of iptables: ours in the one, somebody's or old ones of ours in the other."""
    counts: dict[str, int] = {}
    ours: set[str] = set()
    for table in facts.host.tables:
        rules = [rule for chain in table.chains.values() for rule in chain.rules]
        foreign = [r for r in rules if "XFRMCTL-" not in r.text]
        counts[table.source] = counts.get(table.source, 0) + len(foreign)
        if len(rules) > len(foreign):
            ours.add(table.source)
    others = [source for source in VARIANTS if counts.get(source) and source not in ours]
    if ours >= set(VARIANTS):
        yield Finding(
            id="iptables-variants-mixed", severity=WARNING,
            symptom="the MSS clamp stands in both variants of iptables, and only one of them is kept up to date",
            evidence=[f"XFRMCTL-MSS in {source}-save" for source in VARIANTS],
            cause="the host was switched over, or rules of the one variant were restored in the other",
            cure_here="take ours out of the variant that plain iptables does not mean (iptables -V says which it does)",
            cure_peer=NOTHING_THERE,
            lines=[shell(f"{source}-save | grep -v XFRMCTL | {source}-restore") for source in VARIANTS],
        )  # fmt: skip
    elif ours & set(VARIANTS) and others:
        yield Finding(
            id="iptables-variants-mixed", severity=WARNING,
            symptom=f"the MSS clamp stands in {' and '.join(sorted(ours))}, other rules in {others[0]}: packets pass "
            "both, in an order that surprises",
            evidence=[f"{counts[others[0]]} rules in {others[0]}-save"],
            cause="the host was switched over, or two programs use different variants",
            cure_here="move all rules to one variant, and have iptables mean that one",
            cure_peer=NOTHING_THERE,
            lines=[shell(f"{others[0]}-save"), shell("update-alternatives --config iptables")],
        )  # fmt: skip
