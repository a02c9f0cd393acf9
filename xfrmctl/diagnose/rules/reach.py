"""Peers that do not answer: what exactly is silent.

Three strangers' questions tell the cases apart. IKE of an unknown version is answered by every IKEv2 daemon, on either
port, without any state (RFC 7296 2.5); ICMP echo by most hosts.

========== ========== ========== ====================================================
UDP 500    UDP 4500   echo       finding
========== ========== ========== ====================================================
refused    any        any        ike-not-running
silent     answered   any        udp-500-blocked
answered   silent     any        udp-4500-blocked
silent     silent     answered   ike-blocked (both ports, or nobody listens there)
silent     silent     silent     peer-unreachable
answered   answered   any        peer-ignores-us
========== ========== ========== ====================================================
"""

from collections.abc import Iterator
from dataclasses import dataclass

from xfrmctl.diagnose.facts import Answer, ConnectionFacts, Facts, PeerProbe
from xfrmctl.diagnose.lines import (
    NOTHING_THERE,
    cisco,
    cisco_asks,
    libreswan,
    shell,
    strongswan,
    xfrmctl,
    xfrmctl_there,
)
from xfrmctl.model.failure import FailureCode
from xfrmctl.model.finding import ERROR, PEER, Finding, Line
from xfrmctl.model.snapshot import ConnectionInfo

SILENCE = {FailureCode.NO_RESPONSE.value, FailureCode.PEER_DEAD.value, FailureCode.PATH_LOST.value}


def wants_probe(info: ConnectionInfo) -> bool:
    """Whether a connection's peer is to be asked: it is not up although it should be, and no answer says why."""
    if info.state == "up" or info.remote == "any":
        return False
    if info.last_failure is not None:
        return info.last_failure.code in SILENCE
    return info.state in ("connecting", "waiting")


@dataclass(frozen=True, slots=True)
class _Case:
    """What a pattern of answers means."""

    cause: str
    here: str
    peer: str
    lines: tuple[Line, ...] = ()


def _opening(*ports: int) -> tuple[Line, ...]:
    """IOS has names of its own for the two ports."""
    accept = f"iptables -I INPUT -p udp -m multiport --dports {','.join(map(str, ports))} -j ACCEPT"
    names = {500: "isakmp", 4500: "non500-isakmp"}
    entries = (f" {number} permit udp any any eq {names[p]}" for number, p in enumerate(ports, 1))
    return shell(accept), shell(accept, PEER), cisco("ip access-list extended OUTSIDE", *entries)


_EVERYWHERE = "both ways on every firewall between the two"
CASES = {
    "ike-not-running": _Case(
        "its host says that nobody listens at the IKE port: the peer's daemon does not run",
        "check remote.address",
        "start its IKE daemon",
        (
            xfrmctl_there("systemctl start xfrmctl"),
            strongswan("systemctl start strongswan"),
            libreswan("systemctl start ipsec", ""),
            cisco("interface OUTSIDE", " crypto map M"),
        ),
    ),
    "peer-ignores-us": _Case(
        "the peer's daemon answers strangers on both ports, but not our negotiation: it has no connection for us, "
        "limits us, or a firewall drops what is larger or comes from our ports",
        "look at what we send",
        "its log says why it is silent",
        (
            xfrmctl("xfrmctl events"),
            xfrmctl_there("xfrmctl events"),
            strongswan("swanctl --log"),
            libreswan("ipsec whack --debug all; journalctl -fu ipsec", ""),
            cisco_asks("debug crypto ikev2"),
        ),
    ),
    "udp-4500-blocked": _Case(
        "UDP 4500 is dropped on the way, or at the peer: IKE begins on 500, and goes on on 4500 where there is a NAT, "
        "or MOBIKE",
        f"open UDP 4500 {_EVERYWHERE}",
        "the same at its side",
        _opening(4500),
    ),
    "udp-500-blocked": _Case(
        "UDP 500 is dropped on the way, or at the peer, while UDP 4500 passes",
        f"open UDP 500 {_EVERYWHERE}",
        "the same at its side",
        _opening(500),
    ),
    "ike-blocked": _Case(
        "the peer's host lives, and both IKE ports are silent: a firewall drops UDP 500 and 4500, or no daemon runs "
        "there and the ICMP error that would say so is filtered",
        f"open UDP 500 and 4500 {_EVERYWHERE}",
        "check that its daemon runs (ss -ulpn), and its firewall",
        _opening(500, 4500),
    ),
    "peer-unreachable": _Case(
        "nothing of the peer answers, not even ping: it is down, the path to it is broken, or all of it is filtered",
        "follow the way to it, and check remote.address",
        "check that it is up, and its route back to us",
    ),
}


def _case(probe: PeerProbe) -> str:
    if Answer.REFUSED in (probe.ike, probe.nat_t) and probe.ike != Answer.ANSWERED:
        return "ike-not-running"
    match (probe.ike, probe.nat_t):
        case (Answer.ANSWERED, Answer.ANSWERED):
            return "peer-ignores-us"
        case (Answer.ANSWERED, _):
            return "udp-4500-blocked"
        case (_, Answer.ANSWERED):
            return "udp-500-blocked"
    return "ike-blocked" if probe.echo == Answer.ANSWERED else "peer-unreachable"


def silent_peers(facts: Facts) -> Iterator[Finding]:
    """Connections that nobody answers."""
    for connection, info in facts.connection_infos():
        probe = facts.probes.get(connection.name)
        if probe is not None and wants_probe(info):
            yield _judged(connection, info, probe)


def _judged(connection: ConnectionFacts, info: ConnectionInfo, probe: PeerProbe) -> Finding:
    peer, name = connection.remote, _case(probe)
    case, failure = CASES[name], info.last_failure
    us = connection.local or "OUR-ADDRESS"
    path = [
        shell(f"ip route get {peer}; tracepath -n {peer}"),
        shell(f"ip route get {us}; tracepath -n {us}", PEER),
        cisco_asks(f"traceroute {us}"),
    ]
    return Finding(
        id=name,
        severity=ERROR,
        connection=connection.name,
        symptom=failure.text if failure is not None else "negotiation has begun, and nobody has answered yet",
        evidence=[
            f"IKE of an unknown version to {peer}, UDP 500: {probe.ike.value}; UDP 4500: {probe.nat_t.value}",
            f"ICMP echo to {peer}: {probe.echo.value}" + (f" ({probe.detail})" if probe.detail else ""),
        ],
        cause=case.cause,
        cure_here=case.here,
        cure_peer=case.peer,
        lines=list(case.lines) or path,
    )


def no_daemon(facts: Facts) -> Iterator[Finding]:
    """Nobody keeps the tunnels."""
    if facts.daemon_fault:
        yield Finding(
            id="daemon-not-running",
            severity=ERROR,
            symptom="the daemon does not answer, so no tunnel is negotiated, and none is kept",
            evidence=[facts.daemon_fault],
            cause="it has not been started, has ended, or listens elsewhere",
            cure_here="start it; its log says why it ended",
            cure_peer=NOTHING_THERE,
            lines=[shell("systemctl start xfrmctl"), shell("journalctl -u xfrmctl -e")],
        )
