"""Key derivation: NIST's SP 800-135 IKEv2 vectors (SHA-256), cut into keys as RFC 7296 says.

The numbers are those of OpenSSL's test/recipes/30-test_evp_data/evpkdf_ikev2.txt (first set, derived from NIST CAVP
``ikev2.rsp``): 128 octets of SK material for a suite that needs 32 (SK_d) and so on.
"""

import pytest

from xfrmctl.crypto.keys import derive_child_keys, derive_ike_keys, derive_rekeyed_ike_keys
from xfrmctl.crypto.prf import prf, prf_plus
from xfrmctl.model.iana import Encr, Integ, KeGroup, Prf, ProtocolId
from xfrmctl.model.suite import Suite

NI = bytes.fromhex("3651FEF5C9C35E93")
NR = bytes.fromhex("C09A8B90A3F04D59")
SPI_I = bytes.fromhex("8E5C3AE507221684")
SPI_R = bytes.fromhex("B1F201BB155C3ACD")
SHARED = bytes.fromhex(
    "D084A30166A50FB7325C3960874A839449EF9741C2F4F947D0201DD8C1269273D79509F37E3CA3EB4FA2FE2A28254E28"
    "9CD3F34DAD4EB4DF1A07685A4B8A94FA61E2491F7598B3CE65547FF133B3F63D1AC4175EAA695033F3CEDB026A6873A3"
    "6455172A8540B8A5D23A0143BED0390EE49B168269D75FFFEE9FB62BE965993C"
)
SHARED_NEW = bytes.fromhex(
    "52F00AB174C25D5B7139AE5FF4E8E9EDDEE5992D2E36ADF8A559FFD90DAB1442E4FBE429D320C0F33552A17D1557FA41"
    "EA70E8FB916C4FA27ED52B5F8EBD8461AFA78F1159159A64055AC5F6319E29C28EAE58CBC6847770F32C3FED1D047504"
    "84F854790F95E9EC01BC5BC461F24966462E359511329305038E94DEB6DD42C2"
)
SKEYSEED = bytes.fromhex("EFAA7AB0EAA85A3D0BE2100CD4B6FE00FF5025A9EAFDDB3EF518E9F0D3FE60E6")
SKEYSEED_REKEY = bytes.fromhex("90722C42BD849E9B72D240FC254174270FA8295DE6F0338DAFC303A9EC104F12")
DKM = bytes.fromhex(
    "462B9DD525D4FD71169174272779E704BAF62C6231779AE9EFE8C58B21916B42010164AF2111EBD762F6916CA9A6F0EE"
    "05C8B320E4EE27705521DE2589ADEA1878F1A551738AF7C88DC4F0BB0C096A3F7D1F1A670FC79F49F678D60D665BB371"
    "0C8657F03BA9F62B9A818D7A228968C506E237AE9502AA6DB395C61EA6A3E79504F86B7368BFB5423DF79E48809BBCCD"
    "49FD826D024F63D7C2A5566400A12E736AA034510428F5EA008FE2FC16886FA388274EA6C2B4FCFC6141BF04F8207EF8"
    "AFC224EA1059CB220DC0B23AC0E4CCDA495A4E131B1D56E223ABA5A48E8ED1F5"
)
DKM_CHILD = bytes.fromhex(
    "23647677E7D403FA1E3006F19840AEE18AD9FECC4215814C4131BDEBA98433D8B0E31BFBBDDF822ABCCE5E06486AA388"
    "022B75E27E1E68AA5983028B65282C730C5D49EF7606770376CFDEC41F7CC435D816029989BC353D3B67B9FD1168DDCB"
    "8978850DA9B752AEE6A30D0086D2C4D74EC0E03648A0DAD334FAF5FE88084E67B0F3E8FEE8B5E1BD3850DB540F1FB8CF"
)
DKM_CHILD_DH = bytes.fromhex(
    "6A919387A5FA2835FE8A8237E4A14845BD2B9930DB87EFF7ADF268F62186004902DBA9AA942D0259A0EDC4120B932A50"
    "3865B57BA8FB88117EF5DF7B26799CD8BA37AA5438108CB1A4FE117907C9D0597B708C3F11151FEFD624D2317202B7C8"
    "1430600E6FCBB6E1A8DF2B4861EF2363D53DE1BE69057B0CF6634A7E7BFA97B3C2810623E2BD6757738777177036E9C3"
)
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
