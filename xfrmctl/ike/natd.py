"""NAT detection (RFC 7296 2.23): hashes of addresses as the sender sees them, compared with what arrived."""

from collections.abc import Sequence

from xfrmctl.crypto.natd import nat_detection_hash
from xfrmctl.model.address import Endpoint
from xfrmctl.model.iana import NotifyType
from xfrmctl.wire.payloads import Notify, Payload

HASH_LEN = 20
"""Octets of a SHA-1 hash."""


def _hash(spi_i: bytes, spi_r: bytes, endpoint: Endpoint) -> bytes:
    return nat_detection_hash(spi_i, spi_r, endpoint.address.packed, endpoint.port)


def notifies(
    spi_i: bytes, spi_r: bytes, local: Endpoint, remote: Endpoint, noise: bytes = b""
) -> tuple[Notify, Notify]:
    """Both notifies of an IKE_SA_INIT message.

    With ``noise`` (20 octets) in place of the source hash the peer sees a NAT before us and encapsulates ESP in UDP
    (``encap: always``).
    """
    source = noise or _hash(spi_i, spi_r, local)
    return (
        Notify(NotifyType.NAT_DETECTION_SOURCE_IP, source),
        Notify(NotifyType.NAT_DETECTION_DESTINATION_IP, _hash(spi_i, spi_r, remote)),
    )


def detect(
    payloads: Sequence[Payload], spi_i: bytes, spi_r: bytes, local: Endpoint, remote: Endpoint
) -> tuple[bool, bool] | None:
    """(NAT before us, NAT before the peer), or None when the peer does not do NAT traversal.

    ``local`` and ``remote`` are the endpoints as we saw them on the datagram that carried ``payloads``. The peer may
    send several source hashes when it does not know which address it will use: one match is enough.
    """
    sources = [p.data for p in payloads if isinstance(p, Notify) and p.type == NotifyType.NAT_DETECTION_SOURCE_IP]
    targets = [p.data for p in payloads if isinstance(p, Notify) and p.type == NotifyType.NAT_DETECTION_DESTINATION_IP]
    if not sources or not targets:
        return None
    nat_remote = _hash(spi_i, spi_r, remote) not in sources
    nat_local = _hash(spi_i, spi_r, local) not in targets
    return nat_local, nat_remote
