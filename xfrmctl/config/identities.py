"""``local.id`` and ``remote.id``: what is written, what is meant where nothing is, and what a certificate can confirm.

With a certificate of ours the default is what it says itself: its first subjectAltName, else its subject. A peer
without ``remote.id`` has to be its address.
"""

from collections.abc import Callable
from ipaddress import IPv4Address

from xfrmctl.config import schema
from xfrmctl.config.document import Key
from xfrmctl.crypto.certificate import Certificate
from xfrmctl.model.iana import IdType
from xfrmctl.model.identity import Identity, IdentityPattern

Report = Callable[[Key, str, str], None]

_NOBODY = Identity.of_address(IPv4Address(0))


def local(side: schema.Side, certificate: Certificate | None, key: Key, report: Report) -> Identity:
    """What we say we are; whatever cannot be confirmed by our certificate is reported."""
    place = (*key, "local", "id") if side.id is not None else (*key, "local")
    if isinstance(side.id, IdentityPattern):
        return _own_name(side.id, certificate, place, report)
    if certificate is None:
        found = side.id or (Identity.of_address(side.address) if side.address else None)
        if found is None:
            cure = "add id: fqdn:NAME, or the address this gateway has towards the peer"
            report(place, "neither address nor id is written", cure)
        return found or _NOBODY
    known = (*certificate.names, certificate.identity)
    if side.id is None:
        return known[0]
    if not certificate.confirms(side.id):
        words = ", ".join(str(n) for n in known)
        cause = f"{side.id} is not in our certificate {certificate.subject_text}: no peer would believe it"
        report(place, cause, f"write one of: {words}; or issue a certificate with it as subjectAltName")
    return side.id


def _own_name(wanted: IdentityPattern, certificate: Certificate | None, place: Key, report: Report) -> Identity:
    """``dn:`` of our own side: the subject of our certificate, with its very octets."""
    if "*" in wanted.text:
        report(place, f"{wanted} has a wildcard, and we are one", "write the whole identity")
    elif certificate is None:
        report(
            place, "a distinguished name needs a certificate that says so", "add auth.certificate, or write fqdn:NAME"
        )
    else:
        subject = certificate.identity
        if wanted.matches(subject, certificate.attributes):
            return subject
        report(place, f"{wanted} is not the subject of our certificate", f"write {subject}, or leave id out")
    return _NOBODY


def remote(
    side: schema.Side, by_certificate: bool, key: Key, report: Report
) -> tuple[Identity | None, IdentityPattern | None]:
    """Whom we accept: exactly one, those of a pattern, or (None, None) for anybody with the right proof."""
    place = (*key, "remote", "id")
    if "id" not in side.model_fields_set:
        return (Identity.of_address(side.address) if side.address else None), None
    if isinstance(side.id, IdentityPattern):
        if side.id.type == IdType.DER_ASN1_DN and not by_certificate:
            report(place, "a distinguished name needs a certificate that says so", "add auth.ca, or write fqdn:NAME")
        return None, side.id
    if by_certificate and side.id is not None and side.id.type == IdType.KEY_ID:
        report(place, "no certificate confirms a keyid", "write fqdn:NAME, email:USER@HOST, dn:NAME or an address")
    return side.id, None
