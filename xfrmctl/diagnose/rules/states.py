"""Rules of our own firewall about more than addresses: conntrack's states, fragments, and the way back."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

from xfrmctl.diagnose.facts import ChildFacts, Facts
from xfrmctl.diagnose.lines import NOTHING_THERE, shell
from xfrmctl.diagnose.netfilter.spare import spare
from xfrmctl.diagnose.netfilter.values import ACCEPT, RETURN, SNAT, Chain, Fit, Fragments, Not, Packet, Rule, States
from xfrmctl.diagnose.netfilter.walk import DROPS, Fate, dropped, fates
from xfrmctl.diagnose.rules.firewall import UDP, between, flows
from xfrmctl.diagnose.vendors import fragmentation_lines
from xfrmctl.model.address import IPAddress
from xfrmctl.model.finding import ERROR, WARNING, Finding


def invalid_drops(facts: Facts) -> Iterator[Finding]:
    """conntrack calls packets invalid, and a rule that stands in the way of a tunnel drops them, both just now.

    Whose packets a rule has counted nobody knows: it is told once, of a tunnel that carries some meanwhile.
    """
    told: set[tuple[str, str, str]] = set()
    for child in (child for child in facts.children() if not child.tunnel and _in_use(facts, child)):
        found = [
            (packet, fate)
            for pair in flows(facts, child)
            for packet in pair
            for found in fates(facts.host.tables, "forward", replace(packet, state="invalid"))
            for fate in found
            if fate.verdict in DROPS and fate.fit >= Fit.PART and _of_invalid(fate)
            and facts.host.counted.get(fate.key, 0) > 0
        ]  # fmt: skip
        for packet, fate in [pair for pair in found if pair[1].key not in told][:1]:
            told.add(fate.key)
            yield Finding(
                id="conntrack-invalid", severity=WARNING, connection=child.connection, child=child.name,
                symptom="conntrack calls packets INVALID, and our own firewall drops them",
                evidence=[fate.text, f"{facts.host.counted[fate.key]:+d} packets in {facts.seconds:.1f} s; "
                          f"it stands in the way from {packet.source} to {packet.destination}, and may count others' "
                          "packets as well"],
                cause="conntrack sees one direction of a connection only (asymmetric routing), or TCP windows that it "
                "does not know: from before its start, or after a tunnel has moved",
                cure_here="do not track what the tunnel carries, or be liberal about TCP windows",
                cure_peer="nothing, unless it sends the two directions different ways",
                lines=[shell(f"{'iptables' if packet.source.version == 4 else 'ip6tables'} -t raw -I PREROUTING "
                             f"{between(packet)[0]} -j CT --notrack"),
                       shell("sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1")],
            )  # fmt: skip


def _in_use(facts: Facts, child: ChildFacts) -> bool:
    """Whether it has carried something between the two looks."""
    return any(
        now.inbound.packets > was.inbound.packets or now.outbound.packets > was.outbound.packets
        for was, now, _ in facts.lasting(child)
    )


def _of_invalid(fate: Fate) -> bool:
    conditions = fate.rule.conditions if fate.rule is not None else ()
    return any(isinstance(c, States) and "invalid" in c.names for c in conditions)


def fragment_drops(facts: Facts) -> Iterator[Finding]:
    """A rule about fragments drops them. Where conntrack is in use it puts them together before any such rule."""
    for connection in facts.connections:
        local, remote = connection.local, connection.remote
        if local is None or remote is None:
            continue
        packet = Packet(source=ip_network(remote), destination=ip_network(local), out_dev="",
                        in_dev=facts.host.addresses.get(local), protocol=UDP, fragment=True)  # fmt: skip
        fate = next(filter(None, (dropped(facts.host.tables, h, packet) for h in ("prerouting", "input"))), None)
        about = fate is not None and fate.rule is not None and Fragments() in fate.rule.conditions
        if fate is not None and about and not _tracked(facts, remote.version):
            yield Finding(
                id="firewall-drops-fragments", severity=WARNING, connection=connection.name,
                symptom=f"our own firewall drops fragments from {remote}",
                evidence=[fate.text],
                cause="a large IKE message (certificates), or ESP that was fragmented on the way, never arrives whole",
                cure_here="accept fragments from the peer before that rule",
                cure_peer="nothing, unless its firewall does the same; with IKE fragmentation (RFC 7383) at both ends "
                "IKE needs none",
                lines=[spare(fate, *_fragments_of(remote)), *fragmentation_lines(connection.name)],
            )  # fmt: skip


def _fragments_of(remote: IPAddress) -> tuple[str, str]:
    if remote.version == 4:
        return f"-s {remote} -f", f"ip saddr {remote} ip frag-off & 0x1fff != 0"
    return f"-s {remote} -m frag --fragid 0:4294967295", f"ip6 saddr {remote} exthdr frag exists"


def _tracked(facts: Facts, version: int) -> bool:
    """Whether a rule asks conntrack, which then defragments (``NF_IP_PRI_CONNTRACK_DEFRAG``, -400)."""
    return any(
        rule.verdict == SNAT or any(isinstance(c, States) or (isinstance(c, Not) and isinstance(c.condition, States))
                                    for c in rule.conditions)
        for table in facts.host.tables if table.version in (0, version)
        for chain in table.chains.values() for rule in chain.rules
    )  # fmt: skip


def reverse_path_rules(facts: Facts) -> Iterator[Finding]:
    """Reverse-path filters made of rules: unlike the kernel's own, they look at decrypted packets as well."""
    for child in facts.children():
        for out, back in flows(facts, child):
            if not back.in_dev or not out.out_dev or back.in_dev == out.out_dev:
                continue
            for table in facts.host.tables:
                for chain in table.chains.values():
                    for rule in _met(chain, back):
                        strict = "rpfilter" in rule.text or "fib saddr" in rule.text
                        if chain.hook == "prerouting" and strict and rule.verdict in DROPS:
                            fate = Fate(verdict=rule.verdict, fit=Fit.ALL, table=table, chain=chain, rule=rule)
                            yield _rpfilter(child, out, back, fate)
                            return


def _met(chain: Chain, packet: Packet) -> Iterator[Rule]:
    """The rules of a chain that packets come to: up to one that accepts all of them."""
    for rule in chain.rules:
        if rule.verdict in (ACCEPT, RETURN) and rule.fit(packet) is Fit.ALL:
            return
        yield rule


def _rpfilter(child: ChildFacts, out: Packet, back: Packet, fate: Fate) -> Finding:
    return Finding(
        id="rp-filter-decrypted", severity=ERROR, connection=child.connection, child=child.name,
        symptom=f"decrypted packets from {back.source} are dropped for their source address",
        evidence=[fate.text,
                  f"they come in on {back.in_dev}, and the route to {out.destination} goes out on {out.out_dev}"],
        cause="a reverse-path filter made of rules takes a source only where packets to it would leave",
        cure_here="accept what came out of IPsec before that rule",
        cure_peer=NOTHING_THERE,
        lines=[spare(fate, "-m policy --dir in --pol ipsec", "meta secpath exists")],
    )  # fmt: skip
