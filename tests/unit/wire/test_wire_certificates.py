"""CERT, CERTREQ, N(SIGNATURE_HASH_ALGORITHMS) and AUTH data of method 14, octet by octet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xfrmctl.model.iana import CertEncoding, HashAlgorithm, NotifyType
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.message import decode_payloads
from xfrmctl.wire.payloads import Cert, CertReq, Notify
from xfrmctl.wire.payloads.cert import MAX_AUTHORITIES
from xfrmctl.wire.signatures import hashes_notify, join_signature, read_hashes, split_signature


@pytest.mark.rfc("7296", "3.6")
def test_cert() -> None:
    data = bytes.fromhex("26000008 04 303030 00000005 0c")
    first, second = decode_payloads(37, data)
    assert first == Cert(CertEncoding.X509_SIGNATURE, b"000")
    assert second == CertReq(CertEncoding.HASH_AND_URL_OF_CERTIFICATE)
    assert first.encode() == b"\x04000" and "000" not in repr(first)


@pytest.mark.rfc("7296", "3.7")
@pytest.mark.parametrize(("octets", "count"), [(0, 0), (19, 0), (20, 1), (59, 2), (60, 3), (60000, MAX_AUTHORITIES)])
def test_authorities(octets: int, count: int) -> None:
    assert len(CertReq(CertEncoding.X509_SIGNATURE, bytes(octets)).authorities) == count
    assert CertReq.of([b"a" * 20, b"b" * 20]).authorities == (b"a" * 20, b"b" * 20)


@pytest.mark.parametrize("kind", [37, 38])
def test_without_an_encoding(kind: int) -> None:
    with pytest.raises(WireError, match="short"):
        decode_payloads(kind, bytes.fromhex("00000004"))


@pytest.mark.rfc("7427", "4")
def test_hashes() -> None:
    notify = hashes_notify([HashAlgorithm.SHA2_256, HashAlgorithm.IDENTITY])
    assert notify == Notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, bytes.fromhex("00020005"))
    assert read_hashes(notify) == {HashAlgorithm.SHA2_256, HashAlgorithm.IDENTITY}
    odd = Notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, bytes.fromhex("0002fffe0005ff"))
    assert read_hashes(odd) == {HashAlgorithm.SHA2_256, HashAlgorithm.IDENTITY}
    assert read_hashes(Notify(NotifyType.SIGNATURE_HASH_ALGORITHMS)) == frozenset()


@pytest.mark.rfc("7427", "3")
def test_auth_data() -> None:
    assert join_signature(b"oid", b"signature") == b"\x03oidsignature"
    assert split_signature(b"\x03oidsignature") == (b"oid", b"signature")
    for wrong in (b"", b"\x00", b"\x00sig", b"\x03oid", b"\x04oid", b"\xff"):
        with pytest.raises(WireError):
            split_signature(wrong)


@given(st.binary(min_size=1, max_size=255), st.binary(min_size=1))
def test_auth_data_there_and_back(identifier: bytes, signature: bytes) -> None:
    assert split_signature(join_signature(identifier, signature)) == (identifier, signature)


@given(st.binary(max_size=200))
def test_hashes_of_anything(data: bytes) -> None:
    assert len(read_hashes(Notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, data))) <= len(HashAlgorithm)
