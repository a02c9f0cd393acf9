"""Traffic selector payloads."""

from ipaddress import ip_address
from struct import pack

import pytest

from xfrmctl.model.iana import PayloadType
from xfrmctl.model.selector import TrafficSelector, narrow, parse_selector
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.payloads import TrafficSelectors
from xfrmctl.wire.payloads.ts import parse_tsi, parse_tsr


def ts4(low: str, high: str, protocol: int = 0, ports: tuple[int, int] = (0, 65535)) -> bytes:
    return pack(">BBHHH", 7, protocol, 16, *ports) + ip_address(low).packed + ip_address(high).packed


def ts6(low: str, high: str) -> bytes:
    return pack(">BBHHH", 8, 0, 40, 0, 65535) + ip_address(low).packed + ip_address(high).packed


def body(*selectors: bytes, count: int | None = None) -> bytes:
    return bytes((len(selectors) if count is None else count, 0xAA, 0xBB, 0xCC)) + b"".join(selectors)


def parse(data: bytes) -> tuple[TrafficSelector, ...]:
    return parse_tsi(b"?" + data + b"?", 1, 1 + len(data)).selectors


@pytest.mark.rfc("7296", "3.13.1")
def test_both_families() -> None:
    found = parse(body(ts4("10.1.0.0", "10.1.255.255"), ts6("2001:db8::", "2001:db8::ff")))
    assert found == (
        parse_selector("10.1.0.0/16"),
        TrafficSelector(ip_address("2001:db8::"), ip_address("2001:db8::ff")),
    )
    payload = TrafficSelectors(PayloadType.TSR, found)
    raw = payload.encode()
    assert parse_tsr(raw, 0, len(raw)) == payload
    assert (payload.name, payload.payload_type) == ("TSr", PayloadType.TSR)
    assert TrafficSelectors(PayloadType.TSI, ()).name == "TSi"


@pytest.mark.rfc("7296", "3.13.1")
def test_icmp_type_and_code_stand_in_the_ports() -> None:
    (found,) = parse(body(ts4("10.0.0.1", "10.0.0.1", 1, (0x0800, 0x08FF))))
    assert (found.protocol, found.start_port >> 8, found.end_port & 0xFF) == (1, 8, 255)


@pytest.mark.rfc("7296", "3.13.1")
def test_opaque_ports_are_kept_and_match_nothing() -> None:
    (opaque,) = parse(body(ts4("10.0.0.0", "10.0.0.255", 6, (65535, 0))))
    assert (opaque.start_port, opaque.end_port) == (65535, 0)
    assert narrow([opaque], [parse_selector("0.0.0.0/0")]) == ()
    raw = TrafficSelectors(PayloadType.TSI, (opaque,)).encode()
    assert parse(raw) == (opaque,)


@pytest.mark.rfc("7296", "2.9")
def test_unknown_types_are_skipped() -> None:
    label = pack(">BBH", 10, 0, 9) + b"label"
    fibre = pack(">BBH", 9, 0, 20) + bytes(16)
    assert parse(body(label, ts4("10.0.0.1", "10.0.0.1"), fibre)) == (parse_selector("10.0.0.1"),)
    assert parse(body(label)) == ()
    assert parse(body()) == ()


@pytest.mark.rfc("7296", "3.13")
@pytest.mark.rfc("7296", "3.13.1")
@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\0\0\0",
        body(count=1),
        body(ts4("10.0.0.1", "10.0.0.1"), count=2),
        body(ts4("10.0.0.1", "10.0.0.1"), count=0),
        body(ts4("10.0.0.1", "10.0.0.1") + b"\0", count=1),
        body(ts4("10.0.0.1", "10.0.0.1")[:-1]),
        body(ts4("10.0.0.2", "10.0.0.1")),
        body(ts6("2001:db8::1", "2001:db8::")),
        body(ts4("10.0.0.1", "10.0.0.1", 6, (2, 1))),
        body(ts4("10.0.0.1", "10.0.0.1", 6, (65535, 1))),
        body(pack(">BBHHH", 7, 0, 12, 0, 65535) + bytes(4)),
        body(pack(">BBHHH", 7, 0, 40, 0, 65535) + bytes(32)),
        body(pack(">BBHHH", 8, 0, 16, 0, 65535) + bytes(8)),
        body(pack(">BBH", 10, 0, 0)),
        body(pack(">BBH", 10, 0, 3)),
        body(pack(">BBH", 10, 0, 5)),
    ],
)
def test_malformed(wrong: bytes) -> None:
    with pytest.raises(WireError):
        parse(wrong)


def test_too_many_to_send_is_our_fault() -> None:
    one = parse_selector("10.0.0.1")
    with pytest.raises(ValueError, match="do not fit"):
        TrafficSelectors(PayloadType.TSI, (one,) * 256).encode()
