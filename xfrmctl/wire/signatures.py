"""Signature authentication on the wire, RFC 7427: which hashes a side can verify, and AUTH data of method 14.

    N(SIGNATURE_HASH_ALGORITHMS)    16-bit hash numbers, one after the other (section 4)
    AUTH data of method 14          one octet: length of the AlgorithmIdentifier; that in DER; signature (section 3)

Hash numbers without a name here are skipped.
"""

from collections.abc import Iterable

from xfrmctl.model.iana import HashAlgorithm, NotifyType
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.numbers import HASH_ALGORITHMS
from xfrmctl.wire.payloads.notify import Notify


def hashes_notify(hashes: Iterable[HashAlgorithm]) -> Notify:
    """Announce the hash algorithms that we verify signatures with."""
    return Notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, b"".join(int(h).to_bytes(2, "big") for h in hashes))


def read_hashes(notify: Notify) -> frozenset[HashAlgorithm]:
    """What the peer announces, less what has no name here; an odd octet at the end says nothing."""
    data = notify.data
    numbers = {int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2)}
    return frozenset(HASH_ALGORITHMS[n] for n in numbers if n in HASH_ALGORITHMS)


def join_signature(identifier: bytes, signature: bytes) -> bytes:
    """AUTH data of method 14."""
    return bytes((len(identifier),)) + identifier + signature


def split_signature(data: bytes) -> tuple[bytes, bytes]:
    """AlgorithmIdentifier and signature of AUTH data of method 14; WireError where the length contradicts."""
    end = 1 + data[0] if data else 0
    if not 1 < end < len(data):
        raise WireError("bad_length", "AUTH: no AlgorithmIdentifier with a signature after it")
    return data[1:end], data[end:]
