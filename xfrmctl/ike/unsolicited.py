"""Answers to messages that belong to no IKE SA of ours. Nobody has authenticated anything, so they promise nothing.

INVALID_IKE_SPI               a protected request for an IKE SA that we do not know: have we crashed? (RFC 7296 2.21.4)
                              Our token with it proves that we have (RFC 6290 4.5)
INVALID_MAJOR_VERSION         a request in a later version than ours, which the reply's header names (2.5)
UNSUPPORTED_CRITICAL_PAYLOAD  a first request that insists on a payload that we do not know (2.5)

A response is never answered, so that two hosts cannot keep each other busy; no answer is longer than what it answers
but by a token, and there are few of them for the whole engine (``core.UNSOLICITED_PER_S``). Whoever is left without one
retransmits or gives up, as after a lost datagram.
"""

from xfrmctl.ike import qcd
from xfrmctl.ike.core import Core
from xfrmctl.ike.transport import send
from xfrmctl.model.address import Endpoint
from xfrmctl.model.iana import ExchangeType, NotifyType, PayloadType
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import encode
from xfrmctl.wire.payloads import Notify

MAJOR_VERSION = 2


def unknown_spi(core: Core, local: Endpoint, remote: Endpoint, header: Header, size: int) -> None:
    """A protected request of ``size`` octets names an SPI that nobody here has."""
    if not header.is_response:
        _answer(core, local, remote, header, size, Notify(NotifyType.INVALID_IKE_SPI), proof=True)


def unknown_version(core: Core, local: Endpoint, remote: Endpoint, header: Header, size: int) -> None:
    """A message of another major version; earlier ones get no answer (RFC 7296 2.5 speaks of higher ones only)."""
    if header.major > MAJOR_VERSION and not header.is_response:
        _answer(core, local, remote, header, size, Notify(NotifyType.INVALID_MAJOR_VERSION))


def unsupported_critical(core: Core, local: Endpoint, remote: Endpoint, header: Header, payload_type: int) -> None:
    """A clear payload that is unknown and critical; where an IKE SA exists, only what is protected is answered."""
    if header.exchange == ExchangeType.IKE_SA_INIT and not header.is_response and not any(header.spi_r):
        notify = Notify(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes((payload_type,)))
        _answer(core, local, remote, header, header.length, notify)


def _answer(
    core: Core, local: Endpoint, remote: Endpoint, header: Header, size: int, notify: Notify, *, proof: bool = False
) -> None:
    """Same SPIs, exchange type and message id, nothing protected (RFC 7296 1.5)."""
    reply_header = Header(
        header.spi_i,
        header.spi_r,
        PayloadType.NONE,
        header.exchange,
        not header.is_initiator,
        True,
        header.message_id,
        0,
    )
    if len(encode(reply_header, [notify])) <= size and core.unsolicited.take(core.now):
        token = qcd.proof_of_loss(core, header) if proof else []
        send(core, local, remote, encode(reply_header, [notify, *token]))
