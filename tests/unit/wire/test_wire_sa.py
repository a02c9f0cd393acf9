"""The SA payload: proposals, transforms, attributes."""

from struct import pack

import pytest

from xfrmctl.model.iana import Encr, KeGroup, ProtocolId, TransformType
from xfrmctl.model.suite import KEYWORDS, Proposal, Transform, parse_proposal
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.payloads import Sa
from xfrmctl.wire.payloads.sa import MAX_TRANSFORMS

AES256 = Transform(TransformType.ENCR, Encr.AES_GCM_16, 256)


def transform(kind: int, number: int, attributes: bytes = b"", *, more: int = 0, reserved: int = 0) -> bytes:
    return pack(">BBHBBH", more, reserved, 8 + len(attributes), kind, reserved, number) + attributes


def proposal(
    body: bytes, count: int, *, more: int = 0, number: int = 1, protocol: int = 3, spi: bytes = b"spi!"
) -> bytes:
    return pack(">BBHBBBB", more, 0, 8 + len(spi) + len(body), number, protocol, len(spi), count) + spi + body


def parse(data: bytes) -> tuple[Proposal, ...]:
    return Sa.parse(b"??" + data + b"??", 2, 2 + len(data)).proposals


def only(data: bytes) -> Transform:
    (found,) = parse(proposal(data, 1))
    assert len(found.transforms) == 1
    return found.transforms[0]


@pytest.mark.rfc("7296", "3.3")
def test_round_trip_of_spelled_proposals() -> None:
    ike = [
        parse_proposal(text, ProtocolId.IKE).with_spi(b"", n)
        for n, text in enumerate(("aes256gcm16-aes128gcm16-prfsha384-x25519-ecp256", "aes256-sha256-modp2048"), 1)
    ]
    esp = [parse_proposal("chacha20poly1305-x25519-esn-noesn", ProtocolId.ESP).with_spi(b"spi!", 1)]
    for proposals in (ike, esp):
        payload = Sa(tuple(proposals))
        raw = payload.encode()
        assert Sa.parse(raw, 0, len(raw)) == payload


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_every_keyword_survives_the_wire(keyword: str) -> None:
    payload = Sa((Proposal(ProtocolId.ESP, (KEYWORDS[keyword],), b"spi!"),))
    raw = payload.encode()
    assert Sa.parse(raw, 0, len(raw)) == payload


@pytest.mark.rfc("7296", "3.3.5")
@pytest.mark.rfc("7296", "3.3")
def test_key_length_attribute() -> None:
    assert only(transform(1, 20, pack(">HH", 0x800E, 256))) == AES256
    assert only(transform(1, 20, pack(">HH", 0x800E, 512))).key_bits == 512
    assert only(transform(1, 20)).key_bits is None


@pytest.mark.rfc("7296", "3.3.6")
@pytest.mark.rfc("7296", "3.3")
@pytest.mark.rfc("7296", "3.3.5")
@pytest.mark.parametrize(
    "attributes",
    [
        pack(">HH", 0x8001, 1),
        pack(">HH", 0x800E, 0),
        pack(">HHHH", 0x800E, 256, 0x800E, 128),
        pack(">HHHH", 0x800E, 256, 0x8011, 1),
        pack(">HHH", 0x000E, 2, 256),
        pack(">HH", 0x0011, 0),
        pack(">HH", 0x0011, 100) + bytes(100),
    ],
)
def test_attribute_that_is_not_understood_spoils_the_transform_only(attributes: bytes) -> None:
    body = transform(1, 20, attributes, more=3) + transform(1, 20, pack(">HH", 0x800E, 256))
    (found,) = parse(proposal(body, 2))
    assert found.transforms[0].malformed
    assert found.transforms[1] == AES256
    with pytest.raises(ValueError, match="not understood"):
        Sa((found,)).encode()


def test_strangers_are_kept() -> None:
    found = only(transform(99, 0x1234, reserved=0xFF))
    assert found == Transform(TransformType(99), 0x1234)
    (strange,) = parse(proposal(transform(1, 20), 1, protocol=77, spi=b"xyz"))
    assert (strange.protocol.name, strange.spi) == ("UNKNOWN_77", b"xyz")


def test_reserved_octets_are_ignored() -> None:
    assert only(transform(4, 31, reserved=0x55)) == Transform(TransformType.KE, KeGroup.X25519)


@pytest.mark.rfc("7296", "3.3.1")
@pytest.mark.parametrize(
    ("protocol", "size", "good"),
    [
        (1, 0, True),
        (1, 8, True),
        (1, 4, False),
        (3, 4, True),
        (3, 0, False),
        (3, 8, False),
        (2, 4, True),
        (2, 5, False),
    ],
)
def test_spi_sizes(protocol: int, size: int, good: bool) -> None:
    data = proposal(transform(1, 20), 1, protocol=protocol, spi=bytes(size))
    if good:
        assert len(parse(data)[0].spi) == size
    else:
        with pytest.raises(WireError, match="bad_spi"):
            parse(data)


@pytest.mark.rfc("7296", "3.3.1")
@pytest.mark.rfc("7296", "3.3")
def test_numbers_rise() -> None:
    body = transform(1, 20)
    first = proposal(body, 1, more=2)
    assert [p.number for p in parse(first + proposal(body, 1, number=2))] == [1, 2]
    for number in (0, 1):
        with pytest.raises(WireError, match="bad_value"):
            parse(first + proposal(body, 1, number=number))
    assert parse(proposal(body, 1, number=7))[0].number == 7  # an answer repeats the chosen number


@pytest.mark.rfc("7296", "3.3.1")
@pytest.mark.rfc("7296", "3.3")
@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        bytes(7),
        proposal(transform(1, 20), 1)[:-1],
        proposal(transform(1, 20), 1) + b"\0",
        proposal(transform(1, 20), 1, more=2),
        proposal(transform(1, 20), 1, more=1),
        proposal(transform(1, 20), 1) + proposal(transform(1, 20), 1, number=2),
        proposal(transform(1, 20), 2),
        proposal(transform(1, 20), 0),
        proposal(transform(1, 20, more=3), 1),
        proposal(transform(1, 20) + transform(1, 20), 2),
        proposal(transform(1, 20)[:-1], 1),
        proposal(transform(1, 20, b"\x80"), 1),
        proposal(transform(1, 20, b"\x80\x0e\x01"), 1),
        proposal(transform(1, 20, pack(">HH", 0x0011, 1)), 1),
        pack(">BBHBBBB", 0, 0, 12, 1, 3, 200, 0) + b"spi!",
        pack(">BBHBBBB", 0, 0, 0, 1, 3, 0, 0),
        proposal(pack(">BBHBBH", 0, 0, 0, 1, 0, 20), 1),
        proposal(pack(">BBHBBH", 0, 0, 7, 1, 0, 20), 1),
    ],
)
def test_malformed(wrong: bytes) -> None:
    with pytest.raises(WireError):
        parse(wrong)


def test_transforms_are_counted() -> None:
    body = b"".join(transform(4, n, more=3 if n < 255 else 0) for n in range(1, 256))
    parts = [proposal(body, 255, more=2, number=1), proposal(body, 255, more=2, number=2)]
    few = proposal(transform(4, 1, more=3) + transform(4, 2), 2, number=3)
    many = proposal(transform(4, 1, more=3) + transform(4, 2, more=3) + transform(4, 3), 3, number=3)
    assert sum(len(p.transforms) for p in parse(b"".join(parts) + few)) == MAX_TRANSFORMS
    with pytest.raises(WireError, match="too_many"):
        parse(b"".join(parts) + many)
