"""Key exchange: known answers of RFC 7748, RFC 5903 and NIST CAVP, and what must be refused."""

from typing import Any

import pytest

from tests.vectors import cases
from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.crypto.kex import SUPPORTED, KeyExchangeError, generate
from xfrmctl.crypto.modp import PRIMES
from xfrmctl.model.algorithms import KE
from xfrmctl.model.iana import KeGroup

ENTROPY = DeterministicEntropy(b"kex")
P256_FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1


class Fixed:
    """Entropy that is one prepared private value."""

    def __init__(self, *values: bytes) -> None:
        self.values = [*values]

    def __call__(self, size: int) -> bytes:
        value = self.values.pop(0)
        assert len(value) == size
        return value


@pytest.mark.rfc("5903", "8")
@pytest.mark.rfc("8031", "2")
@cases("key_exchange")
def test_known_answers(case: dict[str, Any]) -> None:
    group = KeGroup[case["group"]]
    ours = generate(group, Fixed(case["private"]))
    assert ours.group is group
    assert ours.public == case["public"]
    assert ours.shared(case["peer"]) == case["shared"]


def _pi(bits: int) -> int:
    """floor(pi * 2**bits), by Machin's formula."""
    one = 1 << (bits + 64)

    def arctan_of_inverse(n: int) -> int:
        term, total, k = one // n, one // n, 3
        while term:
            term //= -n * n
            total += term // k
            k += 2
        return total

    return 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239)) >> 64


@pytest.mark.rfc("3526", "3")
@pytest.mark.parametrize(
    ("group", "bits", "constant"),
    [
        (KeGroup.MODP_2048, 2048, 124476),
        (KeGroup.MODP_3072, 3072, 1690314),
        (KeGroup.MODP_4096, 4096, 240904),
    ],
)
def test_moduli_are_those_of_the_rfc(group: KeGroup, bits: int, constant: int) -> None:
    assert PRIMES[group] == 2**bits - 2 ** (bits - 64) - 1 + 2**64 * (_pi(bits - 130) + constant)


@pytest.mark.rfc("3526", "3")
@pytest.mark.rfc("7296", "2.14")
@pytest.mark.parametrize("group", sorted(PRIMES))
def test_modp_is_what_the_definition_says(group: KeGroup) -> None:
    """g^ir by plain arithmetic. The second value makes a secret that begins with zeros, which are kept."""
    ours, prime = generate(group, ENTROPY), PRIMES[group]
    size, public = len(ours.public), int.from_bytes(ours.public, "big")
    for exponent in (prime // 3, _exponent_for_zeros(public, prime)):
        peer = pow(2, exponent, prime).to_bytes(size, "big")
        assert ours.shared(peer) == pow(public, exponent, prime).to_bytes(size, "big")


def _exponent_for_zeros(public: int, prime: int) -> int:
    exponent, secret = 2, pow(public, 2, prime)
    while secret >> (prime.bit_length() - 8):
        exponent, secret = exponent + 1, secret * public % prime
    return exponent


@pytest.mark.rfc("7296", "3.4")
@pytest.mark.parametrize("group", sorted(SUPPORTED))
def test_both_sides_agree(group: KeGroup) -> None:
    ours, theirs = generate(group, ENTROPY), generate(group, ENTROPY)
    assert ours.public != theirs.public
    secret = ours.shared(theirs.public)
    assert secret == theirs.shared(ours.public)
    assert len(secret) == (len(ours.public) // 2 if group.name.startswith("ECP") else len(ours.public))


@pytest.mark.rfc("7296", "3.4")
@pytest.mark.parametrize("group", sorted(SUPPORTED))
def test_wrong_length_is_refused(group: KeGroup) -> None:
    ours = generate(group, ENTROPY)
    for value in (b"", ours.public[:-1], ours.public + b"\0", b"\0" + ours.public):
        with pytest.raises(KeyExchangeError):
            ours.shared(value)


@pytest.mark.rfc("8031", "2")
def test_x25519_small_order_is_refused() -> None:
    ours = generate(KeGroup.X25519, ENTROPY)
    for value in (bytes(32), b"\x01" + bytes(31)):
        with pytest.raises(KeyExchangeError):
            ours.shared(value)


@pytest.mark.rfc("5903", "6")
@pytest.mark.parametrize("group", [KeGroup.ECP_256, KeGroup.ECP_384, KeGroup.ECP_521])
def test_point_off_the_curve_is_refused(group: KeGroup) -> None:
    ours = generate(group, ENTROPY)
    other = generate(group, ENTROPY).public
    for value in (bytes(len(other)), other[:-1] + bytes((other[-1] ^ 1,)), b"\xff" * len(other)):
        with pytest.raises(KeyExchangeError):
            ours.shared(value)


@pytest.mark.rfc("6989", "2.1")
@pytest.mark.parametrize("group", sorted(PRIMES))
def test_modp_value_out_of_range_is_refused(group: KeGroup) -> None:
    ours = generate(group, ENTROPY)
    prime, size = PRIMES[group], len(ours.public)
    for value in (0, 1, prime - 1, prime, prime + 1):
        with pytest.raises(KeyExchangeError):
            ours.shared(value.to_bytes(size, "big"))


def test_scalars_out_of_range_are_drawn_again() -> None:
    one = bytes(31) + b"\x01"
    ours = generate(KeGroup.ECP_256, Fixed(b"\xff" * 32, bytes(32), one))
    assert ours.public == generate(KeGroup.ECP_256, Fixed(one)).public


def test_broken_entropy_ends() -> None:
    with pytest.raises(ValueError, match="entropy"):
        generate(KeGroup.ECP_256, Fixed(*[bytes(32)] * 64))


def test_everything_negotiable_is_supported() -> None:
    assert set(KE) <= SUPPORTED
    with pytest.raises(ValueError, match="not supported"):
        generate(KeGroup.MODP_1024, ENTROPY)
