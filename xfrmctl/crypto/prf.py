"""Pseudorandom functions, RFC 7296 2.13. All of them are HMACs: a key may have any length."""

from hmac import digest

from xfrmctl.model.algorithms import PRF
from xfrmctl.model.iana import Prf

_HASH = {prf: facts.hash_name for prf, facts in PRF.items()}
_SIZE = {prf: facts.key for prf, facts in PRF.items()}
_MOST_BLOCKS = 255


def prf_key_length(algorithm: Prf) -> int:
    """Octets of the preferred key, which are those of the output: what SK_d, SK_pi and SK_pr have."""
    return _SIZE[algorithm]


def prf(algorithm: Prf, key: bytes, data: bytes) -> bytes:
    """One application. KeyError for an algorithm that we do not negotiate."""
    return digest(key, data, _HASH[algorithm])


def prf_plus(algorithm: Prf, key: bytes, seed: bytes, length: int) -> bytes:
    """``length`` octets of T1 | T2 | ..., with T(n) = prf(key, T(n-1) | seed | n); n is one octet from 1.

    ValueError beyond 255 blocks (RFC 7296 2.13).
    """
    name = _HASH[algorithm]
    count = -(-length // _SIZE[algorithm])
    if count > _MOST_BLOCKS:
        raise ValueError(f"prf+ cannot make {length} octets with {algorithm.name}")
    block = b""
    blocks = []
    for number in range(1, count + 1):
        block = digest(key, block + seed + bytes((number,)), name)
        blocks.append(block)
    return b"".join(blocks)[:length]
