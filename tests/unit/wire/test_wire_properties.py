"""First properties of the parser: it terminates, it raises WireError only, and what it reads it writes."""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from xfrmctl.model.iana import (
    AuthMethod,
    CertEncoding,
    ExchangeType,
    IdType,
    KeGroup,
    NotifyType,
    PayloadType,
    ProtocolId,
    TransformType,
)
from xfrmctl.model.identity import Identity
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.suite import Proposal, Transform
from xfrmctl.wire.cardinality import check
from xfrmctl.wire.errors import REASONS, WireError
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import decode_payloads, encode, encode_payloads, parse
from xfrmctl.wire.payloads import (
    Auth,
    Cert,
    CertReq,
    Delete,
    Id,
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    Sa,
    TrafficSelectors,
    Unknown,
    Vendor,
)

GOLDEN = Path(__file__).parents[2] / "golden"
SEEDS = [
    bytes.fromhex("".join(line for line in path.read_text().splitlines() if not line.startswith("#")))
    for path in sorted(GOLDEN.glob("*.hex"))
]
u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
octets = st.binary(max_size=40)
spi4 = st.binary(min_size=4, max_size=4)

transforms = st.builds(
    Transform,
    u8.map(TransformType),
    u16,
    st.none() | st.integers(1, 65535),
)
protocol_and_spi = st.one_of(
    st.tuples(st.just(ProtocolId.IKE), st.sampled_from([b"", b"12345678"])),
    st.tuples(st.sampled_from([ProtocolId.AH, ProtocolId.ESP]), spi4),
    st.tuples(st.integers(4, 255).map(ProtocolId), st.binary(max_size=20)),
)


@st.composite
def sas(draw: st.DrawFn) -> Sa:
    count = draw(st.integers(1, 4))
    proposals = []
    for number in range(1, count + 1):
        protocol, spi = draw(protocol_and_spi)
        proposals.append(Proposal(protocol, tuple(draw(st.lists(transforms, max_size=6))), spi, number))
    return Sa(tuple(proposals))


@st.composite
def selectors(draw: st.DrawFn) -> TrafficSelector:
    ports = draw(st.tuples(u16, u16).map(sorted) | st.just([65535, 0]))
    if draw(st.booleans()):
        low4, high4 = sorted(draw(st.tuples(u32, u32)))
        return TrafficSelector(IPv4Address(low4), IPv4Address(high4), draw(u8), *ports)
    low6, high6 = sorted(draw(st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))))
    return TrafficSelector(IPv6Address(low6), IPv6Address(high6), draw(u8), *ports)


UNREAD = [47, 48, 1, 32, 49, 52, 54, 128, 255]
payloads = st.one_of(
    sas(),
    st.builds(KeyExchange, u16.map(KeGroup), octets),
    st.builds(
        Id,
        st.sampled_from([PayloadType.IDI, PayloadType.IDR]),
        st.builds(Identity, u8.map(IdType), octets),
        st.binary(min_size=3, max_size=3),
    ),
    st.builds(Auth, u8.map(AuthMethod), octets),
    st.builds(Cert, u8.map(CertEncoding), octets),
    st.builds(CertReq, u8.map(CertEncoding), octets),
    st.builds(Nonce, st.binary(min_size=16, max_size=256)),
    st.builds(Notify, u16.map(NotifyType), octets, u8.map(ProtocolId), st.binary(max_size=20)),
    st.builds(Delete, st.just(ProtocolId.IKE)),
    st.builds(Delete, st.just(ProtocolId.ESP), st.lists(spi4, min_size=1, max_size=5).map(tuple)),
    st.builds(
        TrafficSelectors,
        st.sampled_from([PayloadType.TSI, PayloadType.TSR]),
        st.lists(selectors(), max_size=4).map(tuple),
    ),
    st.builds(Vendor, octets),
    st.builds(Unknown, st.sampled_from(UNREAD), st.just(False), octets),
)
headers = st.builds(
    Header,
    st.binary(min_size=8, max_size=8).filter(any),
    st.binary(min_size=8, max_size=8),
    st.just(0),
    u8.map(ExchangeType),
    st.booleans(),
    st.booleans(),
    u32,
    st.just(0),
)


def survive(data: bytes) -> None:
    """Read all that can be read; only WireError may come out, and what was read is written and read again."""
    try:
        message = parse(data)
        if message.sk is not None:
            decode_payloads(message.sk.first, data[message.sk.offset :])
        check(message.header.exchange, message.header.is_response, message.payloads)
    except WireError as error:
        assert error.reason in REASONS


def without_second_lists(chain: list[Payload]) -> list[Payload]:
    """No message has SA, TSi or TSr twice, and none is read that does."""
    lists = {PayloadType.SA, PayloadType.TSI, PayloadType.TSR}
    kinds = [p.payload_type for p in chain]
    return [p for n, p in enumerate(chain) if kinds[n] not in lists or kinds[n] not in kinds[:n]]


@given(headers, st.lists(payloads, max_size=8).map(without_second_lists))
def test_encode_then_decode_is_identity(header: Header, chain: list[Payload]) -> None:
    raw = encode(header, chain)
    message = parse(raw)
    assert message.payloads == tuple(chain)
    assert message.header.message_id == header.message_id
    assert encode(message.header, message.payloads) == raw
    assert decode_payloads(*encode_payloads(chain)) == tuple(chain)
    for payload in chain:
        assert payload.name.isprintable()


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_arbitrary_octets(data: bytes) -> None:
    survive(data)


@settings(max_examples=500)
@given(u8, st.binary(max_size=300))
def test_arbitrary_chains(first: int, chain: bytes) -> None:
    header = Header(b"12345678", bytes(8), first, ExchangeType.IKE_SA_INIT, True, False, 0, 0)
    survive(header.encode(28 + len(chain)) + chain)


@settings(max_examples=500)
@given(st.sampled_from(SEEDS), st.data())
def test_mutated_messages(seed: bytes, data: st.DataObject) -> None:
    raw = bytearray(seed)
    for at in data.draw(st.lists(st.integers(28, len(raw) - 1), min_size=1, max_size=6)):
        raw[at] = data.draw(u8)
    cut = data.draw(st.integers(28, len(raw)))
    survive(bytes(raw[:24]) + cut.to_bytes(4, "big") + bytes(raw[28:cut]))


@settings(max_examples=500)
@given(st.sampled_from(SEEDS), st.data())
def test_what_is_read_is_written_and_read_again(seed: bytes, data: st.DataObject) -> None:
    raw = bytearray(seed)
    raw[data.draw(st.integers(28, len(raw) - 1))] = data.draw(u8)
    try:
        message = parse(bytes(raw))
        if message.sk is not None:
            return
        written = encode(message.header, message.payloads)
    except (WireError, ValueError):  # ValueError: a transform that was not understood is never sent
        return
    again = parse(written)
    assert again.payloads == message.payloads
    assert encode(again.header, again.payloads) == written
