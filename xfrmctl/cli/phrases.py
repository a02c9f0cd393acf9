"""What ``show`` says of one thing, on a terminal of any width."""

from collections.abc import Iterator

from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, HistoryInfo, IkeInfo, SaInfo, TunnelInfo
from xfrmctl.model.words import count, duration, plural, size

_USUAL = {"replay window 128", "DSCP outbound copy", "DSCP inbound keep", "ECN on"}


def nat(ike: IkeInfo) -> str:
    """Where the NATs are: no, here, peer, both."""
    return {(False, False): "no", (True, False): "here", (False, True): "peer", (True, True): "both"}[
        ike.nat_local, ike.nat_remote
    ]


def proofs(ike: IkeInfo) -> str:
    """Who is who, and how that has been proved."""
    ours = f" ({ike.local_proof})" if ike.local_proof else ""
    theirs = f" ({ike.remote_proof})" if ike.remote_proof else ""
    return f"we are {ike.local_id or 'nobody yet'}{ours}, the peer is {ike.remote_id or 'nobody yet'}{theirs}"


def due(ike: IkeInfo) -> str:
    """What comes when."""
    found = [f"new keys {_within(ike.rekey_in_s)}"]
    if ike.reauth_in_s is not None:
        found.append(f"new proof {_within(ike.reauth_in_s)}")
    heard = f"heard {duration(ike.last_seen_s)} ago"
    if ike.dpd_in_s is not None:
        heard += f", asked in {duration(ike.dpd_in_s)} unless heard before"
    found.append(heard)
    if ike.rtt_s is not None:
        found.append(f"answers take {ike.rtt_s * 1000:.0f} ms")
    return "; ".join(found)


def under_way(ike: IkeInfo) -> str:
    """Our request that waits for its answer, "" where there is none."""
    doing = ike.under_way
    if doing is None:
        return ""
    what = ", ".join(doing.payloads) or "empty"
    again = ""
    if doing.next_in_s is not None:
        last = doing.attempt >= doing.attempts
        again = f", {'given up' if last else 'again'} in {doing.next_in_s:.1f} s"
    waits = f"; {plural(ike.queued, 'conversation')} wait" + ("s" if ike.queued == 1 else "") if ike.queued else ""
    copies = f"copy {doing.attempt} of {doing.attempts} sent {doing.sent_s:.1f} s ago"
    return f"{doing.exchange} request {doing.message_id} ({what}): {copies}{again}{waits}"


def selectors(child: ChildInfo) -> str:
    """What it carries."""
    return f"{' '.join(child.local_ts)} to {' '.join(child.remote_ts)}"


def how(child: ChildInfo, joint: str) -> str:
    """What is not as nearly always: transport mode, UDP encapsulation."""
    words = ([] if child.mode == "tunnel" else [f"{child.mode} mode"]) + ([child.encap] if child.encap else [])
    return "".join(joint + word for word in words)


def options(child: ChildInfo) -> str:
    """What of the data plane's options is not as usual."""
    plane = child.plane
    found = [
        "no replay protection" if not plane.replay_window else f"replay window {plane.replay_window}",
        f"DSCP outbound {plane.dscp_outbound}",
        f"DSCP inbound {plane.dscp_inbound}",
        f"ECN {plane.ecn}",
        f"mark in {plane.mark_inbound}",
        f"mark out {plane.mark_outbound}",
        f"sets mark in {plane.set_mark_inbound}",
        f"sets mark out {plane.set_mark_outbound}",
        f"if_id {child.if_id:#x}" if child.if_id and child.interface is None else "if_id ",
    ]
    return "; ".join(text for text in found if text not in _USUAL and not text.endswith(" "))


def dropped(sa: SaInfo) -> str:
    """What it did not let pass, "" where nothing."""
    found = {"late": sa.late_drops, "replayed": sa.replay_drops, "forged": sa.integrity_failures}
    return ", ".join(f"{number} {what}" for what, number in found.items() if number)


def traffic(sa: SaInfo, joint: str = "\n", *, idle: bool = False) -> str:
    """Bytes, packets and drops of one direction."""
    if sa.missing:
        return "gone from the kernel"
    text = f"{size(sa.bytes)}{joint}{count(sa.packets)} packets"
    if idle:
        text += f", last {duration(sa.idle_s)} ago" if sa.idle_s is not None else ", none yet"
    lost = dropped(sa)
    return text + (joint + lost if lost else "")


def life(child: ChildInfo, joint: str) -> str:
    """How long it still may be used: seconds and kilobytes, of the direction that is nearer to its end."""
    sas = (child.inbound, child.outbound)
    found = []
    for what, seconds, octets, packets in (
        (
            "ends in",
            _least(s.hard_expires_in_s for s in sas),
            _least(s.hard_left_bytes for s in sas),
            _least(s.hard_left_packets for s in sas),
        ),
        (
            "new keys in",
            _least(s.soft_expires_in_s for s in sas),
            _least(s.soft_left_bytes for s in sas),
            _least(s.soft_left_packets for s in sas),
        ),
    ):
        limits = [f"{seconds:.0f} s"] if seconds is not None else []
        limits += [f"{octets / 1000:.0f} kB"] if octets is not None else []
        limits += [f"{packets:.0f} packets"] if packets is not None else []
        if limits:
            found.append(f"{what} {' / '.join(limits)}")
    return joint.join(found) or "no limit"


def _least(values: "Iterator[float | int | None]") -> float | None:
    return min((v for v in values if v is not None), default=None)


def mtu(child: ChildInfo, joint: str) -> str:
    """Sizes inside and outside, who says so, and how long ago."""
    if child.mtu is None:
        return "-"
    path = child.mtu.path
    age = f", {duration(path.age_s)}" if path is not None and child.mtu.source == path.source else ""
    return f"{child.mtu.inner_mtu} inner{joint}{child.mtu.outer_mtu} outer ({child.mtu.source}{age})"


def path(child: ChildInfo) -> str:
    """What is known of the way beside its MTU, "" where nobody looks after it."""
    if child.mtu is None or child.mtu.path is None:
        return ""
    known = child.mtu.path
    found = [f"{known.state}, {known.confidence}", f"carrier {known.carrier}", f"route takes {known.link_mtu}"]
    found += [f"peer says {known.peer_mtu}"] if known.peer_mtu is not None else []
    found += [f"looked at again in {duration(known.ages_in_s)}"] if known.ages_in_s is not None else []
    return "; ".join(found) + f"; probes {known.probes_sent} sent, {known.probes_lost} lost"


def mss(child: ChildInfo) -> str:
    """What TCP is clamped to, IPv4 and IPv6."""
    if child.mtu is None:
        return "-"
    found = [str(m) for m in (child.mtu.mss_ipv4, child.mtu.mss_ipv6) if m is not None]
    return "/".join(found) or "off"


def offload(child: ChildInfo) -> str:
    """Whether the network device encrypts: ``crypto on eth0``, ``no: `` and why, ``not asked for``."""
    ways = [sa.offload or "not asked for" for sa in (child.inbound, child.outbound)]
    return ways[0] if ways[0] == ways[1] else f"in {ways[0]}, out {ways[1]}"


def fragments(child: ChildInfo) -> Iterator[str]:
    """What becomes of packets that do not fit."""
    found = child.fragments
    if found is None:
        return
    yield f"outside: {found.outer}"
    if found.ipv4_with_df == found.ipv4_without_df != "":
        yield f"too large: {found.ipv4_with_df}"
    elif found.ipv4_with_df:
        yield f"too large, IPv4 with DF: {found.ipv4_with_df}; without: {found.ipv4_without_df}"
    if found.ipv6:
        yield f"too large, IPv6: {found.ipv6}"


def tunnel_line(tunnel: TunnelInfo) -> str:
    """A tunnel device in one line."""
    text = f"device {tunnel.interface}: {tunnel.type}, {tunnel.state}"
    text += f", MTU {tunnel.mtu}" if tunnel.mtu is not None else ""
    text += f", {plural(tunnel.looped, 'packet')} led into itself and dropped" if tunnel.looped else ""
    text += f", keepalives: {tunnel.keepalive}" if tunnel.keepalive != "off" else ""
    return text + (", and a route to the peer leads into it" if tunnel.recursive_route else "")


def history(found: HistoryInfo) -> str:
    """What has happened since the daemon's start, "" where nothing."""
    words = [
        (found.established, "IKE SA", " made"),
        (found.ike_rekeys, "rekey", " of it"),
        (found.child_rekeys, "rekey", " of children"),
        (found.failures, "failure", ""),
        (found.retransmissions, "retransmission", ""),
        (found.silences, "silence", " of the peer"),
    ]
    return ", ".join(f"{plural(number, what)}{rest}" for number, what, rest in words if number)


def children(connection: ConnectionInfo) -> Iterator[ChildInfo]:
    """All CHILD SAs of a connection."""
    for ike in connection.ike_sas:
        yield from ike.children


def _within(seconds: float | None) -> str:
    return "never" if seconds is None else f"in {duration(seconds)}"
