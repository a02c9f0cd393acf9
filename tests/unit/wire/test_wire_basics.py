"""Cursor, header, NAT-T framing."""

import pytest

from xfrmctl.model.iana import ExchangeType, NotifyType
from xfrmctl.wire.cursor import Reader
from xfrmctl.wire.errors import REASONS, InvalidMajorVersion, UnsupportedCritical, WireError
from xfrmctl.wire.header import HEADER_LEN, Header
from xfrmctl.wire.natt import KEEPALIVE, NON_ESP_MARKER, frame, unframe

HEADER = Header(b"I" * 8, b"R" * 8, 46, ExchangeType.INFORMATIONAL, True, False, 0x01020304, 28)


def test_reader_reads_what_is_there() -> None:
    data = bytes(range(32))
    for source in (data, memoryview(data)):
        reader = Reader(source, 1, 20)
        assert (reader.u8(), reader.u16(), reader.u32()) == (1, 0x0203, 0x04050607)
        assert reader.u64() == 0x08090A0B0C0D0E0F
        assert reader.take(2) == b"\x10\x11"
        assert (reader.remaining, reader.offset) == (2, 18)
        assert reader.rest() == b"\x12\x13"
        reader.expect_end()


def test_reader_never_leaves_its_bounds() -> None:
    reader = Reader(bytes(32), 4, 7)
    for read in (reader.u32, reader.u64, lambda: reader.take(4), lambda: reader.take(-1)):
        with pytest.raises(WireError, match="short"):
            read()
    assert reader.remaining == 3
    with pytest.raises(WireError, match="trailing"):
        reader.expect_end()
    for start, end in ((0, 33), (5, 4), (-1, 4), (33, 33)):
        with pytest.raises(WireError):
            Reader(bytes(32), start, end)


@pytest.mark.rfc("7296", "3.1")
def test_header_both_ways() -> None:
    raw = bytes.fromhex("4949494949494949525252525252525246202508010203040000001c")
    raw = raw[:16] + b"\x2e" + raw[17:]
    assert HEADER.encode(28) == raw
    assert Header.parse(raw) == HEADER


@pytest.mark.rfc("7296", "3.1")
def test_flags() -> None:
    raw = bytearray(HEADER.encode(28))
    for flags, initiator, response in ((0x00, False, False), (0x08, True, False), (0x20, False, True)):
        raw[19] = flags
        header = Header.parse(bytes(raw))
        assert (header.is_initiator, header.is_response) == (initiator, response)
        assert header.encode(28) == bytes(raw)
    raw[19] = 0xFF  # reserved flags and V are ignored, and not sent back
    header = Header.parse(bytes(raw))
    assert header.encode(28)[19] == 0x28


@pytest.mark.rfc("7296", "3.1")
def test_header_length_must_be_that_of_the_datagram() -> None:
    for length in (0, 27, 29, 0xFFFFFFFF):
        with pytest.raises(WireError, match="bad_length"):
            Header.parse(HEADER.encode(length))
    for size in range(HEADER_LEN):
        with pytest.raises(WireError, match="short"):
            Header.parse(HEADER.encode(28)[:size])


@pytest.mark.rfc("7296", "3.1")
@pytest.mark.rfc("7296", "2.6")
def test_initiator_spi_is_never_zero() -> None:
    with pytest.raises(WireError, match="bad_spi"):
        Header.parse(bytes(8) + HEADER.encode(28)[8:])


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "3.1")
@pytest.mark.parametrize("version", [0x10, 0x00, 0x30, 0xF0])
def test_other_major_versions_carry_the_header(version: int) -> None:
    raw = bytearray(HEADER.encode(9999))
    raw[17] = version
    with pytest.raises(InvalidMajorVersion) as caught:
        Header.parse(bytes(raw))
    assert caught.value.header.spi_i == HEADER.spi_i
    assert caught.value.header.message_id == HEADER.message_id
    assert caught.value.header.major == version >> 4
    assert caught.value.notify is NotifyType.INVALID_MAJOR_VERSION


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "3.1")
def test_minor_version_is_ignored() -> None:
    raw = bytearray(HEADER.encode(28))
    raw[17] = 0x2F
    assert Header.parse(bytes(raw)).minor == 15


def test_unknown_exchange_is_kept() -> None:
    raw = bytearray(HEADER.encode(28))
    raw[18] = 99
    assert Header.parse(bytes(raw)).exchange.name == "UNKNOWN_99"


@pytest.mark.rfc("3948", "2.2")
@pytest.mark.rfc("3948", "1")
@pytest.mark.rfc("3948", "2.1")
@pytest.mark.rfc("3948", "2.3")
@pytest.mark.rfc("7296", "2")
def test_framing() -> None:
    assert frame(b"ike") == b"\0\0\0\0ike"
    assert unframe(frame(b"ike")) == b"ike"
    assert unframe(NON_ESP_MARKER) == b""
    for other in (KEEPALIVE, b"", b"\0\0\0", b"\0\0\0\1esp", b"\xc1\xc2\xc3\xc4" + bytes(40)):
        assert unframe(other) is None


def test_errors_carry_their_notify_and_reason() -> None:
    assert WireError("short").notify is NotifyType.INVALID_SYNTAX
    critical = UnsupportedCritical(99)
    assert critical.notify is NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD
    assert critical.payload_type == 99
    assert critical.reason in REASONS
    assert InvalidMajorVersion(HEADER).reason in REASONS
    assert str(WireError("short", "why")) == "short: why"
