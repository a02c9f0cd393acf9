"""Which payload may occur how often in which message: RFC 7296 1.2-1.4 and appendix C as one table.

``required``  exactly one, each, unless the message is excused
``once``      at most one, each; the required ones are among them
``together``  all of them or none
``excused``   notifies that stand in for the required payloads of a response; errors (below 16384) always do

What a row does not name is tolerated however often it comes (V, N, CERT, CERTREQ, CP, EAP, types unknown):
RFC 7296 2.5 wants receivers to skip what they do not understand, and order does not matter (RFC 7296 2.5,
3). Two notifies change what a request *means* and may stand once: COOKIE and REKEY_SA.

Deviations, on purpose: AUTH is not required in an IKE_AUTH request, its absence asks for EAP (RFC 7296
2.16), which deserves AUTHENTICATION_FAILED and not INVALID_SYNTAX. SA, TSi, TSr may all be absent from
IKE_AUTH (RFC 6023). In CREATE_CHILD_SA, a message without traffic selectors rekeys the IKE SA and needs KE
(RFC 7296 1.3.2).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from xfrmctl.model.iana import ExchangeType, NotifyType, PayloadType
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.payloads import Notify, Payload


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table."""

    required: frozenset[PayloadType]
    once: frozenset[PayloadType]
    together: frozenset[PayloadType] = frozenset()
    excused: frozenset[NotifyType] = frozenset()


def _set(*kinds: PayloadType) -> frozenset[PayloadType]:
    return frozenset(kinds)


_P = PayloadType
_CHILD = _set(_P.SA, _P.TSI, _P.TSR)
_SELECTORS = _set(_P.TSI, _P.TSR)
_INIT = _set(_P.SA, _P.KE, _P.NONCE)
_AUTH = _set(_P.IDI, _P.IDR, _P.AUTH) | _CHILD
_CREATE = Rule(_set(_P.SA, _P.NONCE), _INIT | _SELECTORS, together=_SELECTORS)
_ANY = Rule(_set(), _set())

REQUEST, RESPONSE = False, True

RULES: dict[tuple[ExchangeType, bool], Rule] = {
    (ExchangeType.IKE_SA_INIT, REQUEST): Rule(_INIT, _INIT),
    (ExchangeType.IKE_SA_INIT, RESPONSE): Rule(_INIT, _INIT, excused=frozenset({NotifyType.COOKIE})),
    (ExchangeType.IKE_AUTH, REQUEST): Rule(_set(_P.IDI), _AUTH, together=_CHILD),
    (ExchangeType.IKE_AUTH, RESPONSE): Rule(_set(_P.IDR, _P.AUTH), _AUTH, together=_CHILD),
    (ExchangeType.CREATE_CHILD_SA, REQUEST): _CREATE,
    (ExchangeType.CREATE_CHILD_SA, RESPONSE): _CREATE,
    (ExchangeType.INFORMATIONAL, REQUEST): _ANY,
    (ExchangeType.INFORMATIONAL, RESPONSE): _ANY,
}

_FIRST_STATUS = 16384
_SINGLE_NOTIFIES = frozenset({NotifyType.COOKIE, NotifyType.REKEY_SA})


def check(exchange: ExchangeType, is_response: bool, payloads: Iterable[Payload]) -> None:
    """Raise WireError unless the payloads are what such a message may carry.

    ``payloads`` are all of them, those from inside SK where there is one.
    """
    rule = RULES.get((exchange, is_response))
    if rule is None:
        raise WireError("bad_exchange", exchange.name)
    once = rule.once
    seen: set[int] = set()
    marks: set[NotifyType] = set()
    excused = False
    for payload in payloads:
        kind = payload.payload_type
        if isinstance(payload, Notify):
            number = payload.type
            if number in _SINGLE_NOTIFIES:
                if number in marks:
                    raise WireError("duplicate", payload.name)
                marks.add(number)
            if is_response and (number < _FIRST_STATUS or number in rule.excused):
                excused = True
        elif kind in once:
            if kind in seen:
                raise WireError("duplicate", payload.name)
            seen.add(kind)
    if not excused:
        _check_presence(exchange, rule, seen)


def _check_presence(exchange: ExchangeType, rule: Rule, seen: set[int]) -> None:
    if not rule.required <= seen:
        raise WireError("missing", ", ".join(sorted(k.name for k in rule.required - seen)))
    group = rule.together
    if group and not group <= seen and not group.isdisjoint(seen):
        raise WireError("missing", ", ".join(sorted(k.name for k in group - seen)))
    if exchange is ExchangeType.CREATE_CHILD_SA and _P.TSI not in seen and _P.KE not in seen:
        raise WireError("missing", "KE, or TSi and TSr")
