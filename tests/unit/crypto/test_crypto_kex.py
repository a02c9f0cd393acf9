"""Key exchange: known answers of RFC 7748, RFC 5903 and NIST CAVP, and what must be refused."""

import pytest

from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.crypto.kex import SUPPORTED, KeyExchangeError, generate
from xfrmctl.crypto.modp import PRIMES
from xfrmctl.model.algorithms import KE
from xfrmctl.model.iana import KeGroup

ENTROPY = DeterministicEntropy(b"kex")
P256_FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1


class Fixed:
    """Entropy that is one prepared private value."""

    def __init__(self, *values: str) -> None:
        self.values = [bytes.fromhex(value) for value in values]

    def __call__(self, size: int) -> bytes:
        value = self.values.pop(0)
        assert len(value) == size
        return value


# (method, our private value, our public value, the peer's public value, shared secret)
KNOWN = [
    pytest.param(
        KeGroup.X25519,
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        id="RFC 7748 6.1",
    ),
    pytest.param(
        KeGroup.ECP_256,
        "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
        "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180"
        "5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
        "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63"
        "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
        "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
        id="RFC 5903 8.1",
    ),
    pytest.param(
        KeGroup.ECP_384,
        "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
        "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA"
        "9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
        "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571"
        "DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
        "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746",
        id="RFC 5903 8.2",
    ),
    pytest.param(
        KeGroup.ECP_521,
        "017eecc07ab4b329068fba65e56a1f8890aa935e57134ae0ffcce802735151f4ea"
        "c6564f6ee9974c5e6887a1fefee5743ae2241bfeb95d5ce31ddcb6f9edb4d6fc47",
        "00602f9d0cf9e526b29e22381c203c48a886c2b0673033366314f1ffbcba240ba4"
        "2f4ef38a76174635f91e6b4ed34275eb01c8467d05ca80315bf1a7bbd945f550a5"
        "01b7c85f26f5d4b2d7355cf6b02117659943762b6d1db5ab4f1dbc44ce7b2946eb"
        "6c7de342962893fd387d1b73d7a8672d1f236961170b7eb3579953ee5cdc88cd2d",
        "00685a48e86c79f0f0875f7bc18d25eb5fc8c0b07e5da4f4370f3a949034085433"
        "4b1e1b87fa395464c60626124a4e70d0f785601d37c09870ebf176666877a2046d"
        "01ba52c56fc8776d9e8f5db4f0cc27636d0b741bbe05400697942e80b739884a83"
        "bde99e0f6716939e632bc8986fa18dccd443a348b6c3e522497955a4f3c302f676",
        "005fc70477c3e63bc3954bd0df3ea0d1f41ee21746ed95fc5e1fdf90930d5e1366"
        "72d72cc770742d1711c3c3a4c334a0ad9759436a4d3c5bf6e74b9578fac148c831",
        id="NIST CAVP ECC CDH, P-521, COUNT 0",
    ),
]


@pytest.mark.rfc("5903", "8")
@pytest.mark.parametrize(("group", "private", "public", "peer", "shared"), KNOWN)
def test_known_answers(group: KeGroup, private: str, public: str, peer: str, shared: str) -> None:
    ours = generate(group, Fixed(private))
    assert ours.group is group
    assert ours.public.hex() == public.lower()
    assert ours.shared(bytes.fromhex(peer)).hex() == shared.lower()


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
    one = "00" * 31 + "01"
    ours = generate(KeGroup.ECP_256, Fixed("ff" * 32, "00" * 32, one))
    assert ours.public == generate(KeGroup.ECP_256, Fixed(one)).public


def test_broken_entropy_ends() -> None:
    with pytest.raises(ValueError, match="entropy"):
        generate(KeGroup.ECP_256, Fixed(*["00" * 32] * 64))


def test_everything_negotiable_is_supported() -> None:
    assert set(KE) <= SUPPORTED
    with pytest.raises(ValueError, match="not supported"):
        generate(KeGroup.MODP_1024, ENTROPY)
