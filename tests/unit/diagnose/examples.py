"""One gateway for each finding that there is: facts that give this finding and no other. Their lines are held to what
the products themselves accept, and docs/findings.md shows them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from tests.unit.diagnose.gateway_facts import LAN, MAIN, MOON, SA, SUN, WALL, connected, down, facts
from tests.unit.diagnose.host_facts import (
    FAR,
    JUMP,
    PEER,
    US,
    busy,
    child_facts,
    clamped,
    counts,
    firewall,
    foreign,
    host,
    interface_child,
    route,
    ruled,
    two,
)
from xfrmctl.diagnose import vendors
from xfrmctl.diagnose.diagnosis import diagnose
from xfrmctl.diagnose.facts import Answer, CertificateFacts, Facts, PathProbe, PeerProbe
from xfrmctl.ike import certificate_failures, child_failures, failures
from xfrmctl.model.address import Endpoint
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.finding import Finding, Line
from xfrmctl.model.iana import AuthMethod, ProtocolId
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.observed import ObservedSa
from xfrmctl.model.selector import parse_selector
from xfrmctl.model.suite import Proposal, parse_proposal

_MOON, _SUN = parse_identity(MOON), parse_identity(SUN)
_NEAR, _THERE = parse_selector("10.1.1.0/24"), parse_selector("10.1.2.0/24")
_SILENT = failures.no_response(Endpoint(PEER, 500), 5, "IKE_SA_INIT")
_YES, _NO = Answer.ANSWERED, Answer.SILENT
_OLD = CertificateFacts(subject="CN=moon", valid_from=0, valid_to=WALL - 86400)


def _proposal(text: str, protocol: ProtocolId) -> list[Proposal]:
    return [parse_proposal(text, protocol)]


def _failed(failure: Failure, **more: Any) -> Facts:
    return facts(down(failure), **more)


def _certified(failure: Failure | FailureCode) -> Facts:
    if isinstance(failure, FailureCode):
        failure = Failure(code=failure, text="the peer's certificate CN=sun is refused", cause="why", cure="the cure")
    return _failed(failure, connections=(replace(MAIN, auth="certificate"),))


def _own(begin: float, stop: float) -> Facts:
    certificate = replace(_OLD, valid_from=begin, valid_to=stop)
    return facts(connections=(replace(MAIN, auth="certificate", certificate=certificate),))


def _many(failure: Failure) -> Facts:
    return facts(down(failure, state="up", peers=2), connections=(replace(MAIN, remote=None),))


def _asked(ike: Answer, nat_t: Answer, echo: Answer) -> Facts:
    return facts(down(_SILENT), probes={"main": PeerProbe(ike=ike, nat_t=nat_t, echo=echo)})


def _past() -> Facts:
    child, at = interface_child()
    return child_facts(child, at=replace(at, routes={**at.routes, FAR[1]: route("wan")}))


def _recursive() -> Facts:
    child, at = interface_child()
    return child_facts(child, at=replace(at, routes={**at.routes, PEER: route("ipsec0")}))


def _interface_gone() -> Facts:
    child, at = interface_child()
    return child_facts(child, at=replace(at, devices={k: d for k, d in at.devices.items() if k != "ipsec0"}))


def _strict() -> Facts:
    sysctls = {"net.ipv4.conf.wan.rp_filter": "1", "net.ipv4.conf.all.rp_filter": "0"}
    at = host(other_routes={PEER: route("other")}, sysctls=sysctls, moved={"IPReversePathFilter": 9})
    return child_facts(at=at)


def _rp_rules() -> Facts:
    at = host(tables=firewall("[1:1] -A PREROUTING -m rpfilter --invert -j DROP", table="raw"))
    return child_facts(at=replace(at, routes={**at.routes, **{a: route("other") for a in FAR}}))


def _in_udp() -> Facts:
    encapsulated = facts(connected(replace(SA, encap="udp 4500 -> 4500"))).after
    return ruled("[0:0] -A INPUT -p udp -m udp --dport 4500 -j DROP", after=encapsulated)


def _ah() -> Facts:
    child = replace(LAN, protocol=ProtocolId.AH, esp=("sha256-noesn",))
    return ruled("[0:0] -A INPUT -p ah -j DROP", child=child)


def _counting(rule: str) -> Facts:
    return ruled(f"[8:9] {rule}", before=(f"[5:9] {rule}",))


def _overlap() -> Facts:
    narrow = replace(LAN, connection="other", name="part", remote_ts=(parse_selector("10.1.2.128/25"),))
    other = replace(MAIN, name="other", children=(narrow,))
    info = replace(down(None, state="down"), name="other")
    return facts(connected(), info, connections=(MAIN, other), host=host())


def _missing_sa() -> Facts:
    gone = facts(connected(replace(SA, inbound=replace(SA.inbound, missing=True)))).after
    return child_facts(before=gone, after=gone)


def _duplicates() -> Facts:
    state = facts(connected(SA, replace(SA, inbound=replace(SA.inbound, spi="0xc0000009")))).after
    return child_facts(before=state, after=state)


def _dropped(**counter: Any) -> Facts:
    return two(SA, replace(SA, inbound=replace(SA.inbound, **counter)))


def _sequence() -> Facts:
    sa = ObservedSa(source=US, destination=PEER, protocol=50, spi=0xC0000002, reqid=1, mode="tunnel", ours=True,
                    sent=2**32 - 9)  # fmt: skip
    return child_facts(at=host(sas=(sa,)))


def _written(mtu: int, probe: PathProbe) -> Facts:
    sa = replace(SA, mtu=replace(SA.mtu, outer_mtu=mtu) if SA.mtu else None, fragments=None)
    state = facts(connected(sa)).after
    return child_facts(replace(LAN, mtu=mtu), before=state, after=state, paths={"main": probe})


def _shadowed() -> Facts:
    return clamped("[0:0] -A POSTROUTING -j ACCEPT", JUMP)


def _no_clamp() -> Facts:
    state = facts(connected(replace(SA, mtu=replace(SA.mtu, mss_ipv4=1300) if SA.mtu else None))).after
    return child_facts(before=state, after=state)


def _variants() -> Facts:
    legacy = tuple(replace(t, source="iptables-legacy") for t in firewall("[0:0] -A INPUT -p tcp -j ACCEPT"))
    ours = firewall("[0:0] -A POSTROUTING -j XFRMCTL-MSS", table="mangle")
    return child_facts(at=host(tables=(*legacy, *ours)))


IKE, ESP = ProtocolId.IKE, ProtocolId.ESP
FACTS: dict[str, Callable[[], Facts]] = {
    "daemon-not-running": lambda: facts(before=None, after=None, daemon_fault="no daemon listens at /run/xfrmctl"),
    "no-common-ike-proposal": lambda: _failed(
        failures.no_proposal("IKE", _proposal("aes256gcm16-prfsha384-ecp384", IKE),
                             _proposal("aes128-sha256-modp2048", IKE))),
    "no-common-esp-proposal": lambda: _failed(
        failures.no_proposal("ESP", _proposal("aes256gcm16-ecp384", ESP), _proposal("aes128-sha256", ESP))),
    "mode-mismatch": lambda: _failed(child_failures.mode_refused("lan", by_peer=True)),
    "ah-through-nat": lambda: _failed(child_failures.ah_through_nat("lan", True, False)),
    "selectors-differ": lambda: _failed(
        failures.ts_unacceptable([_NEAR, _THERE], [_NEAR, parse_selector("10.9.0.0/24")], by_peer=False)),
    "psk-mismatch": lambda: _failed(failures.psk_mismatch(_MOON, _SUN)),
    "authentication-method": lambda: _failed(failures.wrong_method(AuthMethod.RSA_SIGNATURE, "main")),
    "authentication-failed": lambda: _certified(failures.peer_rejected_auth(_MOON, _SUN)),
    "identity-mismatch": lambda: _failed(
        failures.identity_mismatch([_SUN], parse_identity("fqdn:pluto.example.org"), whose="remote")),
    "identity-not-certified": lambda: _certified(FailureCode.IDENTITY_NOT_CERTIFIED),
    "certificate-expired": lambda: _certified(FailureCode.CERTIFICATE_EXPIRED),
    "certificate-not-yet-valid": lambda: _certified(FailureCode.CERTIFICATE_NOT_YET_VALID),
    "clock-wrong": lambda: _certified(
        Failure(code=FailureCode.CERTIFICATE_NOT_YET_VALID, text="the peer's certificate is not valid yet",
                cause="one of the clocks is likely off", cure=certificate_failures._SET_CLOCK)),
    "certificate-revoked": lambda: _certified(FailureCode.CERTIFICATE_REVOKED),
    "certificate-status-unknown": lambda: _certified(FailureCode.REVOCATION_UNKNOWN),
    "certificate-untrusted": lambda: _certified(FailureCode.CERTIFICATE_UNTRUSTED),
    "certificate-unusable": lambda: _certified(FailureCode.CERTIFICATE_INVALID),
    "certificate-missing": lambda: _certified(FailureCode.CERTIFICATE_MISSING),
    "own-certificate-expired": lambda: _own(0, WALL - 86400),
    "own-certificate-not-yet-valid": lambda: _own(WALL + 86400, WALL + 2 * 86400),
    "signature-invalid": lambda: _certified(FailureCode.SIGNATURE_INVALID),
    "no-common-signature": lambda: _certified(FailureCode.NO_COMMON_SIGNATURE),
    "identity-in-use": lambda: _many(failures.identity_in_use(_SUN, Endpoint(PEER, 4500))),
    "selectors-taken": lambda: _many(failures.selectors_taken(_MOON, _SUN, [_THERE], [_THERE])),
    "spi-collision": lambda: _many(failures.spi_taken(0x1234)),
    "kernel-refused": lambda: _failed(
        failures.kernel_refused(KernelRefusal("install SA", 38, "rfc7539esp: not implemented"))),
    "sa-lost": lambda: _certified(FailureCode.LIFETIME_EXPIRED),
    "refused-by-peer": lambda: _certified(FailureCode.REFUSED_BY_PEER),
    "udp-500-blocked": lambda: _asked(_NO, _YES, _YES),
    "udp-4500-blocked": lambda: _asked(_YES, _NO, _YES),
    "ike-blocked": lambda: _asked(_NO, _NO, _YES),
    "ike-not-running": lambda: _asked(Answer.REFUSED, Answer.REFUSED, _YES),
    "peer-ignores-us": lambda: _asked(_YES, _YES, _YES),
    "peer-unreachable": lambda: _asked(_NO, _NO, _NO),
    "forwarding-off": lambda: child_facts(at=host(sysctls={"net.ipv4.ip_forward": "0"})),
    "no-route-to-network": lambda: child_facts(at=host(other_routes={FAR[2]: route("", "blackhole")})),
    "route-past-tunnel": _past,
    "recursive-routing": _recursive,
    "interface-missing": _interface_gone,
    "policy-bypassed": lambda: child_facts(at=host(sysctls={"net.ipv4.conf.wan.disable_xfrm": "1"})),
    "rp-filter": _strict,
    "firewall-drops-ike": lambda: ruled("[0:0] -A INPUT -p udp -m udp --dport 500 -j DROP"),
    "firewall-drops-esp": lambda: ruled("[0:0] -A INPUT -p esp -j DROP"),
    "firewall-drops-ah": _ah,
    "firewall-drops-esp-in-udp": _in_udp,
    "firewall-drops-fragments": lambda: ruled("[0:0] -A INPUT -f -j DROP"),
    "nat-before-policy": lambda: ruled("[5:300] -A POSTROUTING -s 10.1.0.0/16 -o wan -j MASQUERADE", table="nat"),
    "forward-drop-outbound": lambda: ruled("[0:0] -A FORWARD -s 10.1.1.0/24 -d 10.1.2.0/24 -j DROP"),
    "forward-drop-inbound": lambda: ruled("[0:0] -A FORWARD -s 10.1.2.0/24 -j REJECT"),
    "forward-drop-part": lambda: _counting("-A FORWARD -s 10.1.1.7/32 -j DROP"),
    "rp-filter-decrypted": _rp_rules,
    "conntrack-invalid": lambda: busy(_counting("-A FORWARD -m conntrack --ctstate INVALID -j DROP")),
    "icmp-to-hosts-dropped": lambda: ruled("[0:0] -A OUTPUT -p icmp -j DROP"),
    "selectors-overlap": _overlap,
    "foreign-policy": lambda: child_facts(at=host(foreign_policies=(foreign(destination=IPv4Network("10.1.2.0/25")),))),
    "sa-missing": _missing_sa,
    "esp-blocked": lambda: two(counts(0, 5), counts(0, 9)),
    "no-answers": lambda: two(counts(0, 5, encap="udp 4500 -> 4500"), counts(0, 9, encap="udp 4500 -> 4500")),
    "duplicate-sas": _duplicates,
    "late-drops": lambda: _dropped(late_drops=40),
    "replay-drops": lambda: _dropped(replay_drops=40),
    "sequence-numbers-end": _sequence,
    "static-mtu-too-large": lambda: _written(1450, PathProbe(asked=1450, fits=False, told=1400, fragments=True)),
    "static-mtu-too-small": lambda: _written(
        1400, PathProbe(asked=1400, fits=True, told=None, fragments=True, carries=1500)),
    "path-mtu-black-hole": lambda: child_facts(
        paths={"main": PathProbe(asked=1500, fits=False, told=None, fragments=True)}),
    "fragments-dropped": lambda: child_facts(
        paths={"main": PathProbe(asked=1500, fits=True, told=None, fragments=False)}),
    "mss-clamp-missing": _no_clamp,
    "mss-clamp-shadowed": _shadowed,
    "iptables-variants-mixed": _variants,
}  # fmt: skip


def found(name: str) -> Sequence[Finding]:
    """What is found there."""
    return diagnose(FACTS[name]())


IDENTITIES = ("email:sun@example.org", f"key_id:{b'sun-7'.hex()}", "dn:CN=sun,O=Lab", "172.16.2.1", "fd16:2::1")
"""Of every kind, as facts spell them."""

PROPOSALS = (
    "chacha20poly1305-prfsha256-x25519", "aes256-sha512-prfsha256-ecp384", "aes128gcm16-prfsha256-modp3072",
    "aes256-sha256-modp2048-noesn", "chacha20poly1305-noesn", "aes128gcm16-ecp256-noesn", "sha256-noesn",
    "sha384-ecp384-noesn",
)  # fmt: skip

SELECTORS = (("10.1.1.0/24",), ("10.1.1.0/24", "fd10:1::/64"), ("10.1.1.7-10.1.1.9",), ("10.1.1.0/24[tcp/443]",))


def more() -> list[Line]:
    """What findings say of other settings than those of the examples."""
    lines: list[Line] = []
    for identity in IDENTITIES:
        lines += vendors.identity_lines("local", identity) + vendors.identity_lines("remote", identity)
        lines += vendors.own_identity("remote", identity, "main") + vendors.psk_lines(MOON, identity)
        lines += vendors.psk_lines(identity, SUN)
    for proposal in PROPOSALS:
        lines += vendors.proposal_lines(proposal) + vendors.own_proposal(proposal, "main", ["lan"])
    for texts in SELECTORS:
        theirs = [parse_selector(text.replace("10.1.1", "10.1.2").replace("fd10:1", "fd10:2")) for text in texts]
        lines += vendors.selector_lines([parse_selector(text) for text in texts], theirs)
    return lines


def every_line() -> list[tuple[str, Line]]:
    """All lines there are, with the finding that says them."""
    said = [(name, line) for name in FACTS for finding in found(name) for line in finding.lines]
    return said + [("more", line) for line in more()]
