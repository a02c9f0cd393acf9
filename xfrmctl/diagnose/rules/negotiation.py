"""Negotiations that failed: the daemon has kept why (:mod:`xfrmctl.ike.failures`); here are the lines for both ends."""

from collections.abc import Iterator, Sequence

from xfrmctl.diagnose import vendors
from xfrmctl.diagnose.facts import ConnectionFacts, Facts
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
from xfrmctl.model.failure import OLDEST_S, FailureCode
from xfrmctl.model.finding import ERROR, PEER, WARNING, Finding, Line
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.selector import TrafficSelector, parse_selector
from xfrmctl.model.snapshot import ConnectionInfo, FailureInfo

HARMLESS = {FailureCode.OPERATOR, FailureCode.REKEYED, FailureCode.PEER_DELETED, FailureCode.PEER_RESTARTED}
"""What ends SAs in an orderly way."""

ELSEWHERE = {FailureCode.NO_RESPONSE, FailureCode.PEER_DEAD, FailureCode.PATH_LOST}
"""Silence: :mod:`xfrmctl.diagnose.rules.reach` asks further."""

RECENT_S = 3600.0
"""A connection that serves many peers is never simply down; so long a peer's failure counts."""

_SHARED = {FailureCode.SELECTORS_TAKEN, FailureCode.IDENTITY_IN_USE}
_IDS = {
    FailureCode.NO_PROPOSAL_CHOSEN: "no-common-proposal",
    FailureCode.TS_UNACCEPTABLE: "selectors-differ",
    FailureCode.AUTHENTICATION_FAILED: "authentication-failed",
    FailureCode.IDENTITY_MISMATCH: "identity-mismatch",
    FailureCode.CERTIFICATE_EXPIRED: "certificate-expired",
    FailureCode.CERTIFICATE_NOT_YET_VALID: "certificate-not-yet-valid",
    FailureCode.CERTIFICATE_REVOKED: "certificate-revoked",
    FailureCode.REVOCATION_UNKNOWN: "certificate-status-unknown",
    FailureCode.CERTIFICATE_UNTRUSTED: "certificate-untrusted",
    FailureCode.CERTIFICATE_INVALID: "certificate-unusable",
    FailureCode.CERTIFICATE_MISSING: "certificate-missing",
    FailureCode.IDENTITY_NOT_CERTIFIED: "identity-not-certified",
    FailureCode.SIGNATURE_INVALID: "signature-invalid",
    FailureCode.NO_COMMON_SIGNATURE: "no-common-signature",
    FailureCode.SELECTORS_TAKEN: "selectors-taken",
    FailureCode.IDENTITY_IN_USE: "identity-in-use",
    FailureCode.KERNEL_REFUSED: "kernel-refused",
    FailureCode.LIFETIME_EXPIRED: "sa-lost",
}
EVERYWHERE = "aes256gcm16"
"""An algorithm that hardly a kernel with ESP lacks (``CONFIG_CRYPTO_GCM``)."""

_CLOCK = "timedatectl set-ntp true"


def negotiation_failures(facts: Facts) -> Iterator[Finding]:
    """What the last attempt of each connection that is not up has failed of."""
    for connection, info in facts.connection_infos():
        failure = info.last_failure
        if failure is None:
            continue
        code = FailureCode(failure.code)
        if code in HARMLESS | ELSEWHERE:
            continue
        serves_many = info.peers is not None and facts.wall - failure.at < RECENT_S
        if info.state != "up" or (serves_many and (code in _SHARED or _is_collision(failure))):
            yield _finding(facts, connection, info, failure, code)


def _is_collision(failure: FailureInfo) -> bool:
    """Two peers have chosen one SPI: the only refusal of the kernel's that we answer as temporary."""
    return failure.code == FailureCode.KERNEL_REFUSED.value and failure.notify == "TEMPORARY_FAILURE"


def _name(connection: ConnectionFacts, failure: FailureInfo, code: FailureCode) -> str:
    if code == FailureCode.NO_PROPOSAL_CHOSEN:
        if not failure.ours or failure.ours[0] == "transport":
            return "mode-mismatch" if failure.ours else "ah-through-nat"
        child = any(vendors.kind_of(text) != ProtocolId.IKE for text in failure.ours)
        return "no-common-esp-proposal" if child else "no-common-ike-proposal"
    if code == FailureCode.AUTHENTICATION_FAILED and failure.theirs:
        return "authentication-method"
    if code == FailureCode.AUTHENTICATION_FAILED and connection.auth == "psk":
        return "psk-mismatch"
    if code in (FailureCode.CERTIFICATE_EXPIRED, FailureCode.CERTIFICATE_NOT_YET_VALID, FailureCode.REVOCATION_UNKNOWN):
        return "clock-wrong" if _CLOCK in failure.cure else _IDS[code]
    if _is_collision(failure):
        return "spi-collision"
    return _IDS.get(code, "refused-by-peer")


def _finding(
    facts: Facts, connection: ConnectionFacts, info: ConnectionInfo, failure: FailureInfo, code: FailureCode
) -> Finding:
    name = _name(connection, failure, code)
    evidence, cure_peer, lines = _details(connection, info, failure, name)
    ago = max(0.0, facts.wall - failure.at)
    notify = f", notify {failure.notify}" if failure.notify else ""
    return Finding(
        id=name,
        severity=WARNING if name in ("spi-collision",) else ERROR,
        connection=connection.name,
        symptom=f"{failure.text} ({ago:.0f} s ago{notify})",
        evidence=evidence,
        cause=failure.cause,
        cure_here=failure.cure,
        cure_peer=cure_peer,
        lines=lines,
    )


_Cure = tuple[list[str], str, list[Line]]
"""Evidence, what the peer is to do, and lines."""


def _details(connection: ConnectionFacts, info: ConnectionInfo, failure: FailureInfo, name: str) -> _Cure:
    evidence = [
        f"{who}: {', '.join(texts)}" for who, texts in (("we", failure.ours), ("peer", failure.theirs)) if texts
    ]
    if name.startswith("no-common-") and name.endswith("proposal"):
        return _proposals(connection, info, failure, evidence)
    if name == "selectors-differ":
        return _selectors(connection, info, failure)
    if name == "psk-mismatch":
        who = f"the key for {connection.local_id} and {connection.remote_id}"
        cure = f"put {who} on the peer, byte for byte: no newline at its end, the same encoding"
        evidence.append(f"{who}: ours is auth.psk of connection {connection.name}")
        return evidence, cure, vendors.psk_lines(connection.local_id, connection.remote_id)
    if name == "identity-mismatch":
        return _identities(connection, failure, evidence)
    if name == "clock-wrong":
        clocks = [shell(f"{_CLOCK}; timedatectl status"), shell(_CLOCK, PEER), cisco("ntp server TIMESERVER")]
        return [failure.cause], "check its clock as well: both ends must agree on what time it is", clocks
    if name == "kernel-refused":
        return [failure.text], *_without(connection)
    if name == "spi-collision":
        return [failure.text], "nothing, if it happens once in a while: it asks again with another SPI", [
            strongswan("spi_min = 0xc0000000\nspi_max = 0xcfffffff", "strongswan.conf: charon")]  # fmt: skip
    if name == "mode-mismatch":
        return evidence, "ask for transport mode", [
            *(xfrmctl("mode: transport-or-tunnel", f"connections.{connection.name}.children.{c}") for c in _down(info)),
            xfrmctl_there("mode: transport", CHILD), strongswan("mode = transport", CHILD), libreswan("type=transport"),
            cisco("crypto ipsec transform-set T", " mode transport require"),
        ]  # fmt: skip
    if name == "ah-through-nat":
        lines = [xfrmctl(f"esp: [{EVERYWHERE}]", f"connections.{connection.name}.children.{c}") for c in _down(info)]
        return [failure.text], "take ESP as well", lines + vendors.proposal_lines(f"{EVERYWHERE}-noesn")
    return _of_certificates(connection, failure, name, evidence)


def _down(info: ConnectionInfo) -> list[str]:
    """Children that are not up."""
    return [c.name for c in info.children if c.state != "up"]


_LOOK = "openssl x509 -noout -subject -issuer -dates -ext subjectAltName -in FILE"
_PEER_CURES = {
    "certificate-expired": "renew its certificate, and have the daemon read it again",
    "certificate-not-yet-valid": "set its clock and the CA's, or wait; then have the daemon read its certificate again",
    "certificate-revoked": "get a new certificate: the CA has taken this one back",
    "certificate-status-unknown": "name a CRL or an OCSP responder in its certificate that we can reach",
    "certificate-untrusted": "send a certificate of a CA that we believe, with all intermediate ones",
    "certificate-unusable": "get a certificate that is made for this (see the cause)",
    "certificate-missing": "send its certificate",
    "identity-not-certified": "say one of the names in its certificate (subjectAltName), or get one with this name",
    "signature-invalid": "give its daemon the private key that belongs to its certificate",
}


def _of_certificates(connection: ConnectionFacts, failure: FailureInfo, name: str, evidence: list[str]) -> _Cure:
    """Proofs by certificates and keys, and what else a peer refuses."""
    if name in ("certificate-missing", "authentication-method"):
        signs = connection.auth != "psk"
        cure = _PEER_CURES.get(name, "prove itself by its certificate" if signs else "prove itself by the key")
        return [*evidence, failure.cause], cure, _signing() if signs else vendors.psk_lines(
            connection.local_id, connection.remote_id)  # fmt: skip
    if name in _PEER_CURES:
        again = [
            shell(_LOOK, PEER),
            xfrmctl_there("xfrmctl reload"),
            strongswan("swanctl --load-creds; swanctl --list-certs"),
            libreswan("ipsec import FILE.p12; ipsec auto --listcerts", ""),
            cisco_asks("show crypto pki certificates"),
        ]
        return [*evidence, failure.cause], _PEER_CURES[name], again
    if name == "no-common-signature":
        return [*evidence, failure.cause], "allow SHA-2 signatures (RFC 7427) with its certificate", [
            xfrmctl_there("xfrmctl reload"),
            strongswan("auth = rsa/pss-sha256-sha384", f"{CONNECTION}.local"), libreswan("authby=rsa-sha2"),
            cisco("crypto ikev2 profile P", " authentication local rsa-sig")]  # fmt: skip
    if name == "authentication-failed":
        log = [
            shell(_LOOK),
            xfrmctl_there("xfrmctl diagnose"),
            strongswan("swanctl --log"),
            libreswan("journalctl -eu ipsec", ""),
            cisco_asks("debug crypto ikev2"),
        ]
        return [*evidence, failure.text], "its log says what it does not like: the CA, the name, the dates", log
    if name == "identity-in-use":
        return [failure.text], "have each peer say another name; with `unique: replace` here the newcomer takes over", [
            xfrmctl("unique: replace", f"connections.{connection.name}"),
            xfrmctl_there("local: {id: fqdn:ANOTHER-NAME}", CONNECTION),
            strongswan("id = fqdn:ANOTHER-NAME", f"{CONNECTION}.local"), libreswan("leftid=@ANOTHER-NAME"),
            cisco("crypto ikev2 profile P", " identity local fqdn ANOTHER-NAME")]  # fmt: skip
    if name == "selectors-taken":
        return evidence, "ask for its own networks only, or renumber them", [
            xfrmctl("dataplane: interface", f"connections.{connection.name}.children.NAME"),
            xfrmctl_there("local_ts: [ITS-OWN-NETWORK]", CHILD), strongswan("local_ts = ITS-OWN-NETWORK", CHILD),
            libreswan("leftsubnet=ITS-OWN-NETWORK")]  # fmt: skip
    if name == "sa-lost":
        return [failure.text], "nothing, if it happens once", [xfrmctl(f"xfrmctl up {connection.name}")]
    log = [strongswan("swanctl --log"), libreswan("journalctl -eu ipsec", ""), cisco_asks("debug crypto ikev2")]
    return evidence or [failure.text], "its log has the reason", [xfrmctl_there("xfrmctl diagnose"), *log]


def _signing() -> list[Line]:
    """The peer proves itself by its certificate."""
    return [
        xfrmctl_there("auth: {certificate: FILE.pem, key: FILE.key, ca: CA.pem}", CONNECTION),
        strongswan("auth = pubkey\ncerts = FILE.pem", f"{CONNECTION}.local"),
        strongswan("send_cert = always", CONNECTION),
        libreswan("authby=rsasig,ecdsa\nleftcert=NICKNAME\nleftsendcert=always"),
        cisco("crypto ikev2 profile P", " authentication local rsa-sig", " pki trustpoint T sign"),
    ]


def _without(connection: ConnectionFacts) -> tuple[str, list[Line]]:
    """What to load; else algorithms that every kernel with ESP has, for both ends."""
    lines = [shell("modprobe -a esp4 esp6 ah4 ah6 xfrm_user; cat /proc/crypto")]
    names = [child.name for child in connection.children if child.protocol is ProtocolId.ESP]
    if names:
        lines += vendors.own_proposal(f"{EVERYWHERE}-noesn", connection.name, names)
        lines += vendors.proposal_lines(f"{EVERYWHERE}-noesn")
    return "offer what our kernel has, if it is the algorithm that is lacking", lines


def _proposals(connection: ConnectionFacts, info: ConnectionInfo, failure: FailureInfo, evidence: list[str]) -> _Cure:
    """The diff by kind of algorithm, and one proposal of ours for the peer to write."""
    ours, theirs = vendors.words_by_type(failure.ours), vendors.words_by_type(failure.theirs)
    for kind in (k for k in ours if failure.theirs):
        common = [w for w in ours[kind] if w in theirs.get(kind, [])]
        shown = f"both {' '.join(common)}" if common else "nothing in common"
        there = " ".join(theirs.get(kind, [])) or "none"
        evidence.append(f"{kind}: we {' '.join(ours[kind])}; peer {there}: {shown}")
    lines = vendors.proposal_lines(failure.ours[0]) if failure.ours else []
    known = (text for text in failure.theirs if vendors.read(text, vendors.kind_of(text)) is not None)
    for text in list(known)[:1]:
        lines = vendors.own_proposal(text, connection.name, _down(info)) + lines
    return evidence, "add a proposal of ours to the peer's", lines


def _selectors(connection: ConnectionFacts, info: ConnectionInfo, failure: FailureInfo) -> _Cure:
    """Which selector of whom meets nothing; then ours in mirror writing, for each child that is down."""
    ours, theirs = _read(failure.ours), _read(failure.theirs)
    evidence = [f"we: {', '.join(failure.ours)}"]
    if theirs:
        evidence.append(f"peer: {', '.join(failure.theirs)}")
    evidence += [f"the peer's {their}: {_relation(their, ours)}" for their in theirs if their not in ours]
    down = _down(info)
    lines: list[Line] = []
    for child in connection.children:
        if child.name in down:
            lines += vendors.selector_lines(child.local_ts, child.remote_ts)
    return evidence, "its selectors must mirror ours: its local networks are our remote ones", lines


def _read(texts: Sequence[str]) -> list[TrafficSelector]:
    found = []
    for text in texts:
        try:
            found.append(parse_selector(text))
        except ValueError:
            continue  # what Linux has no selector for is in the text of the failure
    return found


def _relation(theirs: TrafficSelector, ours: Sequence[TrafficSelector]) -> str:
    for mine in ours:
        if mine.covers(theirs):
            return f"a part of our {mine}"
        if theirs.covers(mine):
            return f"wider than our {mine}"
        if mine.intersect(theirs) is not None:
            return f"overlaps with our {mine}, and neither contains the other"
    return "has no packet in common with any of ours"


def _identities(connection: ConnectionFacts, failure: FailureInfo, evidence: list[str]) -> _Cure:
    ours, theirs = failure.ours[0], failure.theirs[0]
    if "wants to talk to" in failure.text:  # the peer's IDr is not who we are
        cure = f"expect {ours} there, which is who we say we are"
        return evidence, cure, [
            *vendors.own_identity("local", theirs, connection.name), *vendors.identity_lines("remote", ours)
        ]  # fmt: skip
    cure = f"have it say {ours}, which is whom we expect" if ours != "any" else "nothing, if it is who it should be"
    return evidence, cure, [
        *vendors.own_identity("remote", theirs, connection.name), *vendors.identity_lines("local", ours)
    ]  # fmt: skip


def _blames_the_clock(connection: ConnectionFacts, info: ConnectionInfo | None) -> bool:
    failure = info.last_failure if info is not None else None
    return failure is not None and _name(connection, failure, FailureCode(failure.code)) == "clock-wrong"


def own_certificate(facts: Facts) -> Iterator[Finding]:
    """Our own certificate is out of its time: what the peer answers then says nothing of it.

    Before this program was written it is the clock that is wrong; of what the peer has shown, the failure says that.
    """
    for connection in facts.connections:
        certificate = connection.certificate
        if certificate is None or certificate.valid_from <= facts.wall <= certificate.valid_to:
            continue
        early = facts.wall < certificate.valid_from
        days = abs(facts.wall - (certificate.valid_from if early else certificate.valid_to)) / 86400
        slow = facts.wall < OLDEST_S
        if slow and _blames_the_clock(connection, facts.infos.get(connection.name)):
            continue
        yield Finding(
            id="clock-wrong" if slow else "own-certificate-not-yet-valid" if early else "own-certificate-expired",
            severity=ERROR,
            connection=connection.name,
            symptom=f"our own certificate {certificate.subject} {'is not valid yet' if early else 'has expired'}",
            evidence=[f"it {'becomes' if early else 'was'} valid {'in' if early else 'until'} {days:.1f} days"
                      f"{'' if early else ' ago'}, by the clock of this host"],
            cause="the clock is wrong: this program is younger than what it says" if slow
            else "every peer that checks it answers AUTHENTICATION_FAILED",
            cure_here="set the clock" if slow else "renew it and reload; if the date of this host is wrong, set the "
            "clock",
            cure_peer="nothing, if its clock is right" if slow else NOTHING_THERE,
            lines=[shell(f"date; {_CLOCK}"), xfrmctl("xfrmctl reload")],
        )  # fmt: skip
