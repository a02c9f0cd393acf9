"""One file per payload of RFC 7296 section 3; values both ways.

Every class has ``payload_type`` (RFC 7296 3.2), ``name`` (for logs), ``parse(data, start, end)`` for its
body between two offsets of a message, and ``encode()`` for that body. ``Notify.type`` is the *notify* type
and ``Unknown.type`` a bare number: hence the longer name for what all payloads have.
"""

from xfrmctl.wire.payloads.auth import Auth
from xfrmctl.wire.payloads.cert import Cert, CertReq
from xfrmctl.wire.payloads.delete import Delete
from xfrmctl.wire.payloads.identification import Id
from xfrmctl.wire.payloads.ke import KeyExchange
from xfrmctl.wire.payloads.nonce import Nonce
from xfrmctl.wire.payloads.notify import Notify
from xfrmctl.wire.payloads.sa import Sa
from xfrmctl.wire.payloads.ts import TrafficSelectors
from xfrmctl.wire.payloads.unknown import Unknown
from xfrmctl.wire.payloads.vendor import Vendor

Payload = Sa | KeyExchange | Id | Cert | CertReq | Auth | Nonce | Notify | Delete | TrafficSelectors | Vendor | Unknown
"""Any payload; SK is none of them, it is the message's envelope."""

__all__ = [
    "Auth",
    "Cert",
    "CertReq",
    "Delete",
    "Id",
    "KeyExchange",
    "Nonce",
    "Notify",
    "Payload",
    "Sa",
    "TrafficSelectors",
    "Unknown",
    "Vendor",
]
