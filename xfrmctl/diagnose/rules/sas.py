"""The SAs themselves: what the kernel has counted on them, and who else has some."""

from collections.abc import Iterator

from xfrmctl.diagnose.facts import ChildFacts, Facts
from xfrmctl.diagnose.lines import (
    CHILD,
    CONNECTION,
    NOTHING_THERE,
    cisco,
    cisco_asks,
    libreswan,
    shell,
    strongswan,
    xfrmctl,
    xfrmctl_there,
)
from xfrmctl.model.finding import ERROR, PEER, WARNING, Finding, Line
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.observed import ObservedSa
from xfrmctl.model.snapshot import ChildInfo, IkeInfo

DUPLICATE_S = 10.0
"""Both SAs of a rekeying stand for a moment; two that are both older stay."""

NEARLY = 0.9
"""Share of 2^32 sequence numbers from which on their end is near: at 1 Gbit/s of full packets the rest is an hour."""

ALIVE_S = 120.0
"""An IKE SA that was heard so recently is alive: liveness checks come at least that often."""

REAL_TRAFFIC = 3
"""So many packets went out beside our own probes: somebody uses the tunnel."""

REPLAY_SHARE = 0.01

NUMBER = {ProtocolId.ESP: 50, ProtocolId.AH: 51}
"""IANA's protocol numbers."""


def missing(facts: Facts) -> Iterator[Finding]:
    """The daemon has an SA that the kernel has not."""
    for child in facts.children():
        for sa in facts.up(child):
            gone = [name for name, one in (("inbound", sa.inbound), ("outbound", sa.outbound)) if one.missing]
            if gone:
                yield Finding(
                    id="sa-missing", severity=ERROR, connection=child.connection, child=child.name,
                    symptom=f"the {' and the '.join(gone)} SA is no longer in the kernel",
                    evidence=[f"SPIs {sa.inbound.spi} in, {sa.outbound.spi} out; no such SA in the SAD"],
                    cause="another program, or somebody by hand, has deleted it (ip xfrm state flush)",
                    cure_here="it is negotiated anew within the minute, or at once",
                    cure_peer=NOTHING_THERE,
                    lines=[xfrmctl(f"xfrmctl rekey {child.connection} {child.name}")],
                )  # fmt: skip
                break


def duplicates(facts: Facts) -> Iterator[Finding]:
    """Two CHILD SAs for the same packets, neither of which goes away."""
    for child in facts.children():
        groups: dict[tuple[str, ...], list[ChildInfo]] = {}
        for _, sa, _ in facts.lasting(child):
            if sa.established_s >= DUPLICATE_S:
                groups.setdefault((sa.peer, *sa.local_ts, "to", *sa.remote_ts), []).append(sa)
        for group in groups.values():
            if len(group) > 1:
                yield Finding(
                    id="duplicate-sas", severity=WARNING, connection=child.connection, child=child.name,
                    symptom=f"{len(group)} CHILD SAs stand for the same packets",
                    evidence=[f"SPIs {s.inbound.spi} in, {s.outbound.spi} out, {s.established_s:.0f} s old, "
                              f"{s.inbound.packets} in, {s.outbound.packets} out" for s in group],
                    cause="both ends have initiated, or the peer has lost its SAs and not said so (INITIAL_CONTACT)",
                    cure_here="have one end initiate and the other wait (start: none), then take the connection down "
                    "and up",
                    cure_peer="the same: one end only begins",
                    lines=[xfrmctl(f"xfrmctl down {child.connection} && xfrmctl up {child.connection}"),
                           xfrmctl_there("start: none", CHILD),
                           strongswan("start_action = none", CHILD), strongswan("unique = replace", CONNECTION),
                           libreswan("auto=add\ninitial-contact=yes"),
                           cisco("crypto ikev2 profile P", " initial-contact force")],
                )  # fmt: skip


def _drops(facts: Facts, before: int, now: int, sa: ChildInfo) -> str:
    """A counter of drops as evidence; "" where it neither moves nor is large."""
    moved = now - before
    if moved <= 0 and now <= REPLAY_SHARE * (sa.inbound.packets or 1):
        return ""
    return f"SPI {sa.inbound.spi}: {now} dropped of {sa.inbound.packets}, {moved:+d} in {facts.seconds:.1f} s"


def late(facts: Facts) -> Iterator[Finding]:
    """Packets that came later than the replay window reaches (RFC 4303 3.4.3)."""
    for child in facts.children():
        for before, now, _ in facts.lasting(child):
            seen = _drops(facts, before.inbound.late_drops, now.inbound.late_drops, now)
            if not seen:
                continue
            window = now.plane.replay_window
            wider = max(1024, 4 * window)
            yield Finding(
                id="late-drops", severity=WARNING, connection=child.connection, child=child.name,
                symptom="packets are dropped as too old: they came later than the replay window reaches",
                evidence=[f"{seen}; the window is {window} packets"],
                cause="the path reorders by more than the window: a QoS queue lets some of the tunnel's packets "
                "overtake others, or they go over several links",
                cure_here="widen the window; or give what has different priorities SAs of its own",
                cure_peer="the same for what we send, if its counter moves as well",
                lines=[xfrmctl(f"replay_window: {wider}", own_child(child)),
                       xfrmctl_there(f"replay_window: {wider}", CHILD),
                       strongswan(f"replay_window = {wider}", CHILD),
                       libreswan(f"replay-window={wider}"),
                       cisco("crypto ipsec security-association replay window-size 1024")],
            )  # fmt: skip


def replays(facts: Facts) -> Iterator[Finding]:
    """Packets that came twice."""
    for child in facts.children():
        for before, now, _ in facts.lasting(child):
            seen = _drops(facts, before.inbound.replay_drops, now.inbound.replay_drops, now)
            if seen:
                yield Finding(
                    id="replay-drops", severity=WARNING, connection=child.connection, child=child.name,
                    symptom="packets come a second time, and are dropped as replayed",
                    evidence=[seen],
                    cause="something on the path doubles packets (a bridge loop, a mirror port that leads back, a "
                    "link that repeats frames), or somebody replays what was captured: the first copy got through, "
                    "so nothing is lost",
                    cure_here="capture before and behind each hop to see where the copy begins; a wider window does "
                    "not help",
                    cure_peer="the same for what we send, if its counter moves as well",
                    lines=[shell(f"tcpdump -ni WAN 'ip[{28 if now.encap else 20}:4] = {now.inbound.spi}'"
                                 "  # the same sequence number twice"),
                           shell("grep XfrmInStateSeqError /proc/net/xfrm_stat", PEER),
                           cisco_asks("show crypto ipsec sa detail | include replay")],
                )  # fmt: skip


def sequence_end(facts: Facts) -> Iterator[Finding]:
    """Sequence numbers of 32 bits that run out (RFC 4303 3.3.3)."""
    by_spi: dict[str, ObservedSa] = {f"{s.spi:#010x}": s for s in facts.host.sas if s.ours}
    for child in facts.children():
        for sa in facts.up(child):
            found = by_spi.get(sa.outbound.spi)
            if found is None or found.esn or found.sent < NEARLY * 2**32:
                continue
            yield Finding(
                id="sequence-numbers-end", severity=WARNING, connection=child.connection, child=child.name,
                symptom="the outbound SA has nearly used up its sequence numbers; then it sends nothing more",
                evidence=[f"SPI {sa.outbound.spi}: {found.sent} of {2**32} sent, without ESN"],
                cause="the SA carries more packets than its lifetime was made for",
                cure_here="rekey now; then negotiate ESN, or rekey by packets",
                cure_peer="allow ESN as well; IOS mostly has none, and rekeys by volume long before",
                lines=[xfrmctl(f"xfrmctl rekey {child.connection} {child.name}"), *_with_esn(child)],
            )  # fmt: skip


def own_child(child: ChildFacts) -> str:
    """Where a child of ours stands in the configuration."""
    return f"connections.{child.connection}.children.{child.name}"


def _with_esn(child: ChildFacts) -> list[Line]:
    """ESN first, and without it as long as the peer has none: at both ends, for the child's own algorithms."""
    words = next(iter(child.esp), "aes256gcm16").replace("-noesn", "").replace("-esn", "")
    key = child.protocol.name.lower()
    both = f"{words}-esn", f"{words}-noesn"
    return [
        xfrmctl(f"{key}: [{', '.join(both)}]", own_child(child)),
        xfrmctl_there(f"{key}: [{', '.join(both)}]", CHILD),
        strongswan(f"{key}_proposals = {words}-esn-noesn", CHILD),
        libreswan("esn=either"),
        cisco("crypto ipsec security-association lifetime kilobytes 4608000"),
    ]


def one_way(facts: Facts) -> Iterator[Finding]:
    """Packets go out, none come back, and IKE is alive."""
    for child in facts.children():
        for before, now, ike in facts.lasting(child):
            probe = facts.tunnels.get((child.connection, child.name))
            if ike.last_seen_s > ALIVE_S or (probe is not None and probe.answered):
                continue
            ours = probe.sent if probe is not None else 0
            went, came = (now.outbound.packets - before.outbound.packets, now.inbound.packets - before.inbound.packets)
            never = not now.inbound.packets and now.outbound.packets - ours >= REAL_TRAFFIC
            if came or not (never or went - ours >= REAL_TRAFFIC):
                continue
            yield _one_way(facts, child, before, now, ike, ours)


def _one_way(facts: Facts, child: ChildFacts, before: ChildInfo, now: ChildInfo, ike: IkeInfo, probes: int) -> Finding:
    peer = ike.remote.rpartition(":")[0]
    evidence = [
        f"out: {now.outbound.packets} packets, {now.outbound.packets - before.outbound.packets:+d} in "
        f"{facts.seconds:.1f} s; in: {now.inbound.packets}, +0",
        f"IKE with {ike.remote}: {ike.state}, heard {ike.last_seen_s:.0f} s ago",
    ]
    if probes:
        evidence.append(f"{probes} pings through the tunnel: none was answered")
    look = [
        xfrmctl_there("xfrmctl diagnose"),
        strongswan("swanctl --list-sas"),
        libreswan("ipsec trafficstatus", ""),
        cisco_asks("show crypto ipsec sa | include pkts"),
    ]
    if now.encap:
        return Finding(
            id="no-answers", severity=WARNING, connection=child.connection, child=child.name,
            symptom="packets go into the tunnel, and none come out of it",
            evidence=[*evidence, f"ESP goes in UDP ({now.encap}), the way that IKE goes as well"],
            cause="IKE passes, and so does ESP in UDP to the same port: the fault is behind the peer (its forwarding, "
            "its firewall, its route back), or only one direction is used",
            cure_here="have somebody behind the peer answer a ping, if nobody does: then nothing is wrong here",
            cure_peer="look whether its counters of packets that came in move", lines=look,
        )  # fmt: skip
    name, low = child.protocol.name, child.protocol.name.lower()
    udp = child.protocol is ProtocolId.ESP  # there is no UDP encapsulation of AH
    return Finding(
        id="esp-blocked", severity=ERROR, connection=child.connection, child=child.name,
        symptom="packets go into the tunnel, and none come out of it, while IKE is alive", evidence=evidence,
        cause=f"{name} (protocol {NUMBER[child.protocol]}) is dropped on the way, or at the peer, while UDP passes. "
        "Where the peer's counters say that it comes in there, the fault is behind the peer, or on the way back",
        cure_here=f"have {name} let through, both ways, between {ike.local.rpartition(':')[0]} and {peer}"
        + ("; or put it in UDP, which passes" if udp else "; or take ESP, which can go in UDP: no NAT lets AH through"),
        cure_peer=f"let {name} in; compare its counters with ours",
        lines=[*([xfrmctl("ike: {encap: always}", f"connections.{child.connection}")] if udp else ()),
               shell(f"tcpdump -ni WAN host {peer} and {low}"),
               *([xfrmctl_there("ike: {encap: always}", CONNECTION), strongswan("encap = yes", CONNECTION),
                  libreswan("encapsulation=yes")] if udp else ()),
               shell(f"iptables -I INPUT -p {low} -j ACCEPT", PEER),
               cisco("ip access-list extended OUTSIDE", f" 1 permit {'ahp' if low == 'ah' else low} any any"),
               *look],
    )  # fmt: skip
