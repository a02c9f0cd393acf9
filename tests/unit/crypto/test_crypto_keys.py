"""Key derivation: NIST's SP 800-135 IKEv2 vectors (SHA-256), cut into keys as RFC 7296 says."""

import pytest

from tests.vectors import load
from xfrmctl.crypto.keys import derive_child_keys, derive_ike_keys, derive_rekeyed_ike_keys
from xfrmctl.crypto.prf import prf, prf_plus
from xfrmctl.model.iana import Encr, Integ, KeGroup, Prf, ProtocolId
from xfrmctl.model.suite import Suite

(CASE,) = load("ikev2_kdf")
NI, NR, SPI_I, SPI_R = (CASE[name] for name in ("ni", "nr", "spi_i", "spi_r"))
SHARED, SHARED_NEW = CASE["shared"], CASE["shared_new"]
SKEYSEED, SKEYSEED_REKEY = CASE["skeyseed"], CASE["skeyseed_rekey"]
DKM, DKM_CHILD, DKM_CHILD_DH = CASE["dkm"], CASE["dkm_child"], CASE["dkm_child_dh"]
SHA256 = Prf.HMAC_SHA2_256
CBC = Suite(ProtocolId.IKE, Encr.AES_CBC, 128, Integ.HMAC_SHA2_256_128, SHA256, KeGroup.MODP_2048)
GCM = Suite(ProtocolId.IKE, Encr.AES_GCM_16, 256, None, SHA256, KeGroup.X25519)
ESP_CBC = Suite(ProtocolId.ESP, Encr.AES_CBC, 128, Integ.HMAC_SHA2_256_128)
ESP_GCM = Suite(ProtocolId.ESP, Encr.AES_GCM_16, 256)


def cut(material: bytes, *sizes: int) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(material[at : at + size])
        at += size
    return pieces


@pytest.mark.rfc("7296", "2.14")
@pytest.mark.rfc("7296", "1.7")
def test_skeyseed_and_material() -> None:
    assert prf(SHA256, NI + NR, SHARED) == SKEYSEED
    assert prf_plus(SHA256, SKEYSEED, NI + NR + SPI_I + SPI_R, len(DKM)) == DKM


@pytest.mark.rfc("7296", "2.14")
@pytest.mark.rfc("7296", "2.13")
def test_keys_of_a_cbc_suite_in_order() -> None:
    keys = derive_ike_keys(CBC, SHARED, NI, NR, SPI_I, SPI_R)
    found = [keys.d, keys.ai, keys.ar, keys.ei, keys.er, keys.pi, keys.pr]
    assert found == cut(DKM, 32, 32, 32, 16, 16, 32, 32)


@pytest.mark.rfc("5282", "7.1")
@pytest.mark.rfc("7296", "2.14")
def test_keys_of_an_aead_suite_have_no_integrity_keys_but_salts() -> None:
    keys = derive_ike_keys(GCM, SHARED, NI, NR, SPI_I, SPI_R)
    found = [keys.d, keys.ai, keys.ar, keys.ei, keys.er, keys.pi, keys.pr]
    assert found == cut(DKM, 32, 0, 0, 36, 36, 32, 32)


@pytest.mark.rfc("7296", "2.17")
def test_child_keys_without_pfs() -> None:
    out, back = derive_child_keys(ESP_CBC, SHA256, DKM[:32], NI, NR)
    assert [out.encryption, out.integrity, back.encryption, back.integrity] == cut(DKM_CHILD, 16, 32, 16, 32)


@pytest.mark.rfc("7296", "2.17")
def test_child_keys_with_pfs() -> None:
    out, back = derive_child_keys(ESP_GCM, SHA256, DKM[:32], NI, NR, SHARED_NEW)
    assert [out.encryption, out.integrity, back.encryption, back.integrity] == cut(DKM_CHILD_DH, 36, 0, 36, 0)


@pytest.mark.rfc("7296", "2.18")
def test_keys_of_a_rekeyed_ike_sa() -> None:
    keys = derive_rekeyed_ike_keys(CBC, SHA256, DKM[:32], SHARED_NEW, NI, NR, SPI_I, SPI_R)
    expected = prf_plus(SHA256, SKEYSEED_REKEY, NI + NR + SPI_I + SPI_R, 192)
    assert keys.d + keys.ai + keys.ar + keys.ei + keys.er + keys.pi + keys.pr == expected


@pytest.mark.rfc("7296", "2.18")
def test_the_old_prf_makes_the_seed_of_a_rekeyed_ike_sa() -> None:
    old = Prf.HMAC_SHA2_512
    keys = derive_rekeyed_ike_keys(CBC, old, b"d" * 64, SHARED, NI, NR, SPI_I, SPI_R)
    seed = prf(old, b"d" * 64, SHARED + NI + NR)
    assert keys.d == prf_plus(SHA256, seed, NI + NR + SPI_I + SPI_R, 32)


def test_keys_do_not_show() -> None:
    text = repr(derive_ike_keys(CBC, SHARED, NI, NR, SPI_I, SPI_R))
    assert text == "IkeKeys()"


def test_an_ike_suite_needs_a_prf() -> None:
    with pytest.raises(ValueError, match="PRF"):
        derive_ike_keys(ESP_GCM, SHARED, NI, NR, SPI_I, SPI_R)
