"""Proof of identity, RFC 7296 2.15.

Both kinds of proof cover the same octets: the sender's first message as it was on the wire (no non-ESP
marker), the *other* side's nonce (its data alone), and a MAC of the sender's identity. With a shared key
the proof is one more MAC; signatures over :func:`signed_octets` would stand beside :func:`psk_auth`.
"""

from hmac import compare_digest

from xfrmctl.crypto.prf import prf as mac
from xfrmctl.model.iana import Prf

KEY_PAD = b"Key Pad for IKEv2"
"""17 ASCII characters without a terminator (RFC 7296 2.15)."""


def signed_octets(prf: Prf, message: bytes, peer_nonce: bytes, sk_p: bytes, id_body: bytes) -> bytes:
    """RealMessage | NonceData of the peer | prf(SK_p, RestOfIDPayload).

    ``sk_p`` is SK_pi for the initiator's proof and SK_pr for the responder's; ``id_body`` is the ID payload
    after its generic header, as sent.
    """
    return b"".join((message, peer_nonce, mac(prf, sk_p, id_body)))


def psk_auth(prf: Prf, psk: bytes, message: bytes, peer_nonce: bytes, sk_p: bytes, id_body: bytes) -> bytes:
    """AUTH = prf(prf(shared secret, "Key Pad for IKEv2"), signed octets)."""
    octets = signed_octets(prf, message, peer_nonce, sk_p, id_body)
    return mac(prf, mac(prf, psk, KEY_PAD), octets)


def psk_verify(
    prf: Prf,
    psk: bytes,
    message: bytes,
    peer_nonce: bytes,
    sk_p: bytes,
    id_body: bytes,
    received: bytes,
) -> bool:
    """Whether the AUTH data of the sender of ``message`` is right; takes the same time either way."""
    return compare_digest(psk_auth(prf, psk, message, peer_nonce, sk_p, id_body), received)
