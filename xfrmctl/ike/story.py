"""What is told of a connection while somebody debugs it: each message payload by payload, each decision and why.

Nothing here decides anything, and who does not listen does not pay for it. No secret is ever told: of public values,
nonces, proofs, tokens and cookies there are sizes only, and of notifies the data of a few that are known to be
harmless. What a peer has written is cut and made printable.
"""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address

from xfrmctl.crypto.certificate import Certificate, CertificateError, readable
from xfrmctl.ike.core import Core
from xfrmctl.ike.negotiate import Narrowed
from xfrmctl.ike.sa import IkeSa
from xfrmctl.model.iana import CertEncoding, ExchangeType, KeGroup, NotifyType
from xfrmctl.model.sa import Mode
from xfrmctl.model.suite import Suite
from xfrmctl.model.told import DecisionTold, PayloadsTold
from xfrmctl.wire.payloads import (
    Auth,
    Cert,
    CertReq,
    Delete,
    Id,
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    Sa,
    TrafficSelectors,
    Unknown,
    Vendor,
)
from xfrmctl.wire.signatures import read_hashes

MAX_LINES, MAX_LINE = 40, 400
"""Of one message, and characters of a line: a peer may send long lists."""

_MEANING: dict[NotifyType, str] = {
    NotifyType.INITIAL_CONTACT: "forget what there was with me before",
    NotifyType.NAT_DETECTION_SOURCE_IP: "a hash of the sender's address: a NAT would change it",
    NotifyType.NAT_DETECTION_DESTINATION_IP: "a hash of the receiver's address: a NAT would change it",
    NotifyType.COOKIE: "to be sent back, as proof of one's address",
    NotifyType.USE_TRANSPORT_MODE: "transport mode, please",
    NotifyType.REKEY_SA: "this CHILD SA is to be replaced",
    NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED: "no padding against traffic analysis, please",
    NotifyType.NON_FIRST_FRAGMENTS_ALSO: "fragments may share the SA",
    NotifyType.MOBIKE_SUPPORTED: "addresses may change (RFC 4555)",
    NotifyType.UPDATE_SA_ADDRESSES: "use the addresses of this message from now on",
    NotifyType.CHILDLESS_IKEV2_SUPPORTED: "an IKE SA may begin without a CHILD SA (RFC 6023)",
    NotifyType.QCD_TOKEN: "to prove a crash with (RFC 6290)",
    NotifyType.IKEV2_FRAGMENTATION_SUPPORTED: "large messages may come in fragments (RFC 7383)",
    NotifyType.SIGNATURE_HASH_ALGORITHMS: "signatures may use these (RFC 7427)",
    NotifyType.EAP_ONLY_AUTHENTICATION: "EAP alone would do (RFC 5998)",
    NotifyType.ADDITIONAL_TS_POSSIBLE: "other selectors would do, too, in an SA of their own",
    NotifyType.NO_PROPOSAL_CHOSEN: "no common algorithms",
    NotifyType.TS_UNACCEPTABLE: "no common selectors",
    NotifyType.AUTHENTICATION_FAILED: "the other end's identity or proof is not accepted; it says no more on purpose",
    NotifyType.INVALID_KE_PAYLOAD: "this key exchange method instead, please",
    NotifyType.TEMPORARY_FAILURE: "busy with another exchange: later",
    NotifyType.CHILD_SA_NOT_FOUND: "there is no such CHILD SA here",
    NotifyType.NO_ADDITIONAL_SAS: "no further SA in this IKE SA",
    NotifyType.INVALID_SYNTAX: "the message could not be read",
    NotifyType.XFRMCTL_PATH_MTU: "padding of a path-MTU probe",
}


def listener(core: Core, sa: IkeSa) -> str:
    """The connection in whose story this IKE SA plays, "" where nobody listens."""
    if not core.explained:
        return ""
    names = [sa.connection] if sa.config is not None else [c.name for c in sa.candidates]
    return _listened(core, names)


def _listened(core: Core, names: Iterable[str]) -> str:
    return next((name for name in names if core.explained.get(name, 0.0) > core.now), "")


def sent(
    core: Core, sa: IkeSa, exchange: ExchangeType, message_id: int, payloads: Sequence[Payload], *, response: bool
) -> None:
    """A message of ours has gone out for the first time."""
    _payloads(core, sa, exchange, message_id, payloads, response=response, ours=True)


def heard(
    core: Core, sa: IkeSa, exchange: ExchangeType, message_id: int, payloads: Sequence[Payload], *, response: bool
) -> None:
    """A message of the peer is accepted."""
    _payloads(core, sa, exchange, message_id, payloads, response=response, ours=False)


def _payloads(
    core: Core,
    sa: IkeSa,
    exchange: ExchangeType,
    message_id: int,
    payloads: Sequence[Payload],
    *,
    response: bool,
    ours: bool,
) -> None:
    name = listener(core, sa)
    if name and payloads and not is_probe(payloads):
        core.emit(
            PayloadsTold(
                connection=name,
                ike=sa.name,
                sent=ours,
                exchange=exchange,
                response=response,
                message_id=message_id,
                lines=told(payloads),
            )
        )


def is_probe(payloads: Sequence[Payload]) -> bool:
    """Whether a message only measures the path: there are many, and they say nothing."""
    return all(isinstance(p, Notify) and p.type == NotifyType.XFRMCTL_PATH_MTU for p in payloads)


def decided(core: Core, sa: IkeSa, why: Callable[[], str]) -> None:
    """A decision about an IKE SA or its children; ``why`` makes a sentence for people."""
    name = listener(core, sa)
    if name:
        core.emit(DecisionTold(connection=name, ike=sa.name, decision=_clean(why())))


def decided_early(core: Core, candidates: Iterable[str], why: Callable[[], str]) -> None:
    """A decision before there is an IKE SA, about a peer that may be any of these connections."""
    name = _listened(core, candidates) if core.explained else ""
    if name:
        core.emit(DecisionTold(connection=name, ike="", decision=_clean(why())))


def agreed(core: Core, sa: IkeSa, narrowed: Narrowed, suite: Suite, mode: Mode) -> None:
    """A CHILD SA is agreed on, and the kernel is asked next."""

    def why() -> str:
        child = narrowed.child
        ours = " === ".join(", ".join(map(str, ts)) for ts in (child.local_ts, child.remote_ts))
        both = " === ".join(", ".join(map(str, ts)) for ts in (narrowed.local_ts, narrowed.remote_ts))
        extent = "all that is configured" if both == ours else f"what both ends have of {ours}"
        what = f"{suite}, {mode.value} mode, {both}, {extent}"
        return f"agreed on child {child.name}: {what}; now the kernel is to take it"

    decided(core, sa, why)


def nat(local: bool, remote: bool, *, forced: bool) -> str:
    """What the hashes of addresses have shown (RFC 7296 2.23)."""
    if local or remote:
        where = "both sides" if local and remote else "our side" if local else "the peer's side"
        return f"a NAT on {where} changes addresses: IKE goes over to port 4500, and ESP into UDP"
    if forced:
        return "no NAT, but encapsulation is forced: ESP goes into UDP"
    return "no NAT: both ends see the addresses that the other one has"


def told(payloads: Sequence[Payload]) -> tuple[str, ...]:
    """A message line by line."""
    lines = [_clean(line) for payload in payloads[:MAX_LINES] for line in _lines(payload)]
    more = len(lines) - MAX_LINES
    return (*lines[:MAX_LINES], f"… {more} lines more") if more > 0 else tuple(lines)


def _clean(text: str) -> str:
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable if len(printable) <= MAX_LINE else printable[: MAX_LINE - 1] + "…"


def _lines(payload: Payload) -> list[str]:
    match payload:
        case Sa(proposals):
            return [
                f"SA proposal {p.number}: {p.protocol.name} {p}" + (f", SPI {p.spi.hex()}" if p.spi else "")
                for p in proposals
            ]
        case KeyExchange(group=group, data=data):
            return [f"KE {group.name}: a public value of {len(data)} bytes"]
        case Nonce(data):
            return [f"No {len(data)} bytes of randomness"]
        case Id():
            return [f"{payload.name} {readable(payload.identity)}"]
        case Auth(method=method, data=data):
            return [f"AUTH {method.name}: a proof of {len(data)} bytes"]
        case Cert(encoding=encoding, data=data):
            return [f"CERT {_certificate(encoding, data)}"]
        case CertReq():
            many = len(payload.authorities)
            return [f"CERTREQ {payload.encoding.name}: of {many} authorities" if many else "CERTREQ of any authority"]
        case Delete(protocol, spis):
            return [f"D {protocol.name} {', '.join(spi.hex() for spi in spis)}".rstrip()]
        case TrafficSelectors():
            return [f"{payload.name} {', '.join(map(str, payload.selectors))}"]
        case Notify():
            return [_notify(payload)]
        case Vendor(data):
            return [f"V a vendor's mark of {len(data)} bytes"]
        case Unknown():
            return [f"{payload.name} {len(payload.data)} bytes that we do not know"]


def _certificate(encoding: CertEncoding, data: bytes) -> str:
    if encoding != CertEncoding.X509_SIGNATURE:
        return f"{encoding.name}: {len(data)} bytes"
    try:
        return f"of {Certificate.parse(data).subject_text}"
    except CertificateError:
        return f"X509_SIGNATURE: {len(data)} bytes that are no certificate"


def _notify(notify: Notify) -> str:
    text = notify.name + (f" {notify.protocol.name} {notify.spi.hex()}" if notify.spi else "")
    value = _value(notify)
    meaning = _MEANING.get(notify.type, "" if value else "data of " + f"{len(notify.data)} bytes")
    return text + (f" {value}" if value else "") + (f": {meaning}" if meaning else "")


def _value(notify: Notify) -> str:
    """The data, where it is harmless and can be read."""
    data = notify.data
    match notify.type:
        case NotifyType.INVALID_KE_PAYLOAD if len(data) == 2:
            return KeGroup(int.from_bytes(data, "big")).name
        case NotifyType.SIGNATURE_HASH_ALGORITHMS:
            return ", ".join(sorted(h.name for h in read_hashes(notify)))
        case NotifyType.ADDITIONAL_IP4_ADDRESS if len(data) == 4:
            return str(ip_address(data))
        case NotifyType.ADDITIONAL_IP6_ADDRESS if len(data) == 16:
            return str(ip_address(data))
        case NotifyType.SET_WINDOW_SIZE if len(data) == 4:
            return str(int.from_bytes(data, "big"))
    return ""
