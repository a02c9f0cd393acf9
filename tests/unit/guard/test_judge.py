"""The verdict on every kind of ICMP error: true ones, forged ones, and what no router ever sent."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.guard.icmp_errors import Error, esp, udp
from xfrmctl.guard.judge import BURST, FLOOR, RATE_PER_S, RECENT, Judge, Judgement, Reason
from xfrmctl.guard.quote import read
from xfrmctl.guard.table import OVERLAP_S, Outbound, Table
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.path import Path
from xfrmctl.model.sa import Encap, SaId

US = {4: "172.16.1.1", 6: "fd16:1::1"}
PEER = {4: "172.16.2.1", 6: "fd16:2::1"}
NATTED, STRANGER = "203.0.113.9", {4: "198.51.100.7", 6: "fd99::7"}
SPI, SENT = 0xC0FFEE01, 5000
NOW = 1000.0


def outbound(version: int, spi: int = SPI, **more: object) -> Outbound:
    sa = SaId(ip_address(PEER[version]), ProtocolId.ESP, spi)
    return Outbound(sa, ip_address(US[version]), **more)  # type: ignore[arg-type]


IN_UDP = Outbound(SaId(ip_address(NATTED), ProtocolId.ESP, SPI), ip_address(US[4]), Encap(4500, 33000))
SAS = (outbound(4), outbound(6), IN_UDP)
MTUS = {o.path: 1500 for o in SAS}


def judge(*sas: Outbound, sent: int | None = SENT, mtus: dict[Path, int] | None = None) -> Judge:
    return Judge(lambda sa: sent, Table.of((), sas or SAS, MTUS if mtus is None else mtus))


def true(version: int = 4, **more: object) -> Error:
    """What a router on the path says."""
    usual: dict[str, object] = {"payload": esp(SPI, SENT - 3), "reporter": STRANGER[version]}
    return Error(US[version], PEER[version], **(usual | more))  # type: ignore[arg-type]


def in_udp(payload: bytes | None = None, ports: tuple[int, int] = (4500, 33000), length: int = 1480) -> Error:
    datagram = udp(*ports, length, esp(SPI, SENT - 3) if payload is None else payload)
    return Error(US[4], NATTED, datagram, protocol=17, reporter=STRANGER[4])


def verdict(error: Error, by: Judge | None = None, now: float = NOW) -> Judgement:
    return (by or judge()).judge(error.packet, now)


@pytest.mark.rfc("4301", "8.2.1")
@pytest.mark.parametrize("version", [4, 6])
def test_what_a_router_on_the_path_says_is_believed(version: int) -> None:
    found = verdict(true(version))
    assert found == Judgement(
        Reason.ACCEPTED,
        version,
        ip_address(STRANGER[version]),
        ip_address(PEER[version]),
        Path(ip_address(US[version]), ip_address(PEER[version])),
        1400,
        1500,
    )
    assert found.accepted


def test_esp_in_udp() -> None:
    found = verdict(in_udp())
    assert found.accepted and found.path == Path(ip_address(US[4]), ip_address(NATTED), 33000)
    assert verdict(in_udp(ports=(4500, 4500))).reason == Reason.PORTS
    assert verdict(in_udp(ports=(4501, 33000))).reason == Reason.PORTS
    assert verdict(in_udp(payload=b"")).reason == Reason.SHORT_QUOTE
    assert verdict(in_udp(payload=esp(SPI, SENT)[:7])).reason == Reason.SHORT_QUOTE
    assert verdict(in_udp(payload=bytes(4) + b"an IKE message")).reason == Reason.IKE
    assert verdict(in_udp(ports=(500, 500), payload=b"")).reason == Reason.IKE, "though 8 octets are all that is quoted"
    assert verdict(in_udp(length=900)).reason == Reason.MALFORMED


def test_the_least_that_a_router_quotes_is_enough() -> None:
    """RFC 792: the header and 8 octets, which hold SPI and sequence number."""
    assert verdict(true(payload=esp(SPI, SENT, 0))).accepted
    assert verdict(true(payload=esp(SPI, SENT, 0)[:7])).reason == Reason.SHORT_QUOTE


FORGED = [
    ({"payload": esp(SPI + 1, SENT)}, Reason.UNKNOWN_SPI),
    ({"payload": esp(0, SENT)}, Reason.UNKNOWN_SPI),
    ({"payload": esp(SPI, SENT + 1)}, Reason.SEQUENCE),
    ({"payload": esp(SPI, 0)}, Reason.SEQUENCE),
    ({"payload": esp(SPI, 0xFFFFFFFF)}, Reason.SEQUENCE),
    ({"protocol": 17, "payload": udp(4500, 4500, 1480, esp(SPI, SENT))}, Reason.UNKNOWN_SPI),
    ({"protocol": 17, "payload": udp(500, 500, 1480, b"an IKE message" * 5)}, Reason.IKE),
    ({"protocol": 17, "payload": udp(4500, 4500, 1480, bytes(64))}, Reason.IKE),
    ({"protocol": 6}, Reason.PROTOCOL),
    ({"protocol": 47}, Reason.PROTOCOL),
    ({"protocol": 1}, Reason.PROTOCOL),
    ({"protocol": 4}, Reason.PROTOCOL),
    ({"protocol": 51, "payload": bytes(4) + esp(SPI, SENT)}, Reason.UNKNOWN_SPI),
    ({"mtu": 1}, Reason.BELOW_FLOOR),
    ({"mtu": 1500}, Reason.FITS),
    ({"quoted_length": 100}, Reason.FITS),
    ({"quoted_length": 1400}, Reason.FITS),
]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("change", "reason"), FORGED)
def test_forged(version: int, change: dict[str, object], reason: Reason) -> None:
    found = verdict(true(version, **change))
    assert found.reason == reason and not found.accepted and found.path is None
    assert found.peer == ip_address(PEER[version]), "who is named and who says so is told all the same"
    assert found.reporter == ip_address(STRANGER[version])


@pytest.mark.parametrize("version", [4, 6])
def test_the_floor(version: int) -> None:
    assert verdict(true(version, mtu=FLOOR[version])).accepted
    assert verdict(true(version, mtu=FLOOR[version] - 1)).reason == Reason.BELOW_FLOOR


def test_another_address_of_ours_has_no_such_sa() -> None:
    assert verdict(replace(true(), local="172.16.9.9")).reason == Reason.NOT_OUR_ADDRESS


def test_only_what_lowers() -> None:
    path = outbound(4).path
    assert verdict(true(mtu=1400), judge(mtus={path: 1400})).reason == Reason.NOT_LOWER
    assert verdict(true(mtu=1399), judge(mtus={path: 1400})).accepted
    assert verdict(true(mtu=8000, quoted_length=9000), judge(mtus={})).accepted, "nobody believes anything yet"


def test_form() -> None:
    assert verdict(true(flags=0)).reason == Reason.MAY_FRAGMENT
    assert verdict(true(flags=0x2000)).reason == Reason.FRAGMENT
    assert verdict(true(flags=0x4001)).reason == Reason.FRAGMENT
    assert verdict(true(options=bytes(4))).reason == Reason.HEADERS
    assert verdict(true(6, protocol=44, payload=bytes(8) + esp(SPI, SENT))).reason == Reason.PROTOCOL
    assert verdict(true(6, protocol=60, payload=bytes(8) + esp(SPI, SENT))).reason == Reason.PROTOCOL


@pytest.mark.rfc("1191", "5")
def test_a_router_that_reports_no_mtu_is_not_believed_but_heard() -> None:
    for version in (4, 6):
        found = verdict(true(version, mtu=0))
        assert found.reason == Reason.NO_MTU and not found.accepted
        assert found.path == outbound(version).path and found.quoted == 1500
    assert verdict(true(mtu=0, payload=esp(SPI + 1, SENT))).path is None
    lowered = judge(mtus={outbound(4).path: 1492})
    assert verdict(true(mtu=0, quoted_length=1492), lowered).path == outbound(4).path
    assert verdict(true(mtu=0, quoted_length=1500), lowered).reason == Reason.NOT_LOWER, "of before we lowered it"


def test_options_and_extension_headers_of_the_error_itself() -> None:
    assert verdict(true(outer_options=bytes((1, 1, 1, 0)))).accepted
    assert verdict(true(6, outer_options=bytes((58, 0)) + bytes(6))).accepted
    chain = b"".join(bytes((60, 0)) + bytes(6) for _ in range(20)) + bytes((58, 0)) + bytes(6)
    assert verdict(true(6, outer_options=chain)).reason == Reason.MALFORMED


def test_a_stranger_s_business_is_none_of_ours() -> None:
    for version in (4, 6):
        found = verdict(replace(true(version, protocol=6), remote=STRANGER[version]))
        assert found.reason == Reason.NOT_A_PEER and found.accepted and found.path is None


def test_a_peer_without_sas_is_believed_nothing() -> None:
    empty = Judge(lambda sa: SENT, Table.of([ip_address(PEER[4])], ()))
    assert verdict(true(), empty).reason == Reason.UNKNOWN_SPI


def test_two_peers_behind_one_nat_are_told_apart() -> None:
    other = replace(IN_UDP, id=replace(IN_UDP.id, spi=SPI + 7), encap=Encap(4500, 33001))
    both = judge(IN_UDP, other)
    assert verdict(in_udp(), both).path == IN_UDP.path
    crossed = in_udp(payload=esp(SPI + 7, SENT))
    assert verdict(crossed, both).reason == Reason.PORTS


# -- sequence numbers and rekeying


def test_sequence_numbers() -> None:
    sent = RECENT + 100
    by = judge(sent=sent)
    assert verdict(true(payload=esp(SPI, sent - RECENT + 1)), by).accepted
    assert verdict(true(payload=esp(SPI, sent - RECENT)), by).reason == Reason.SEQUENCE
    assert verdict(true(payload=esp(SPI, 1)), judge(sent=0)).reason == Reason.SEQUENCE, "it has sent nothing yet"
    extended = judge(sent=(7 << 32) + 5)
    assert verdict(true(payload=esp(SPI, 5)), extended).accepted
    assert verdict(true(payload=esp(SPI, 0xFFFFFFF0)), extended).accepted, "before the low half wrapped"
    assert verdict(true(payload=esp(SPI, 6)), extended).reason == Reason.SEQUENCE


def test_an_sa_that_the_kernel_does_not_have() -> None:
    assert verdict(true(), judge(sent=None)).reason == Reason.UNKNOWN_SPI


def test_the_old_spi_during_the_overlap_of_a_rekey() -> None:
    old, new = outbound(4, until=NOW + OVERLAP_S), outbound(4, SPI + 1)
    by = Judge(lambda sa: SENT if sa == new.id else None, Table.of((), (old, new), MTUS))
    assert verdict(true(), by).accepted and verdict(true(payload=esp(SPI + 1, SENT)), by).accepted
    assert verdict(true(), by, NOW + OVERLAP_S).reason == Reason.UNKNOWN_SPI


def test_a_new_table_takes_the_old_one_s_place() -> None:
    by = judge(outbound(4))
    by.table = Table.of((), [outbound(4, SPI + 1)], MTUS)
    assert verdict(true(), by).reason == Reason.UNKNOWN_SPI
    assert verdict(true(payload=esp(SPI + 1, SENT)), by).accepted


# -- rate


def test_so_many_a_second_for_one_peer() -> None:
    by = judge()
    outcomes = [verdict(true(), by).reason for _ in range(BURST + 5)]
    assert outcomes == [Reason.ACCEPTED] * BURST + [Reason.RATE] * 5
    assert verdict(true(6), by).accepted, "another peer has its own"
    assert verdict(true(), by, NOW + 1 / RATE_PER_S).accepted
    assert verdict(true(), by, NOW + 1 / RATE_PER_S).reason == Reason.RATE


def test_forged_ones_do_not_use_up_the_rate() -> None:
    by = judge()
    for _ in range(1000):
        assert not verdict(true(payload=esp(SPI + 1, SENT)), by).accepted
    assert verdict(true(), by).accepted


def test_memory_is_bounded_by_the_peers() -> None:
    sas = [
        Outbound(SaId(ip_address(n), ProtocolId.ESP, SPI), ip_address(US[4])) for n in range(1 << 24, (1 << 24) + 500)
    ]
    by = judge(*sas, mtus={})
    for sa in sas:
        assert verdict(replace(true(), remote=str(sa.id.destination)), by).accepted
    by.table = Table.of((), sas[:1])
    assert verdict(replace(true(), remote=str(sas[0].id.destination)), by, NOW + 10).accepted
    assert len(by._turns) <= 1


# -- hostile bytes


@given(st.binary(max_size=200))
@settings(max_examples=400, deadline=None)
def test_any_bytes_get_a_verdict(data: bytes) -> None:
    assert judge().judge(data, NOW).reason in Reason


@given(
    st.sampled_from([true(4), true(6), in_udp()]),
    st.integers(0, 200),
    st.integers(0, 255),
    st.integers(0, 200),
)
@settings(max_examples=600, deadline=None)
def test_what_is_changed_or_cut_is_never_believed_more(error: Error, at: int, value: int, cut: int) -> None:
    """Whatever is accepted names an SA of ours, a number that it has sent, and an MTU below the belief."""
    data = bytearray(error.packet)
    data[at % len(data)] = value
    packet = bytes(data[: len(data) - cut] if cut < len(data) else data)
    found = judge().judge(packet, NOW)
    quote = read(packet)
    if found.reason == Reason.ACCEPTED:
        assert quote is not None and found.path in MTUS
        assert SPI.to_bytes(4, "big") in packet
        assert FLOOR[found.family] <= found.mtu < 1500 and found.mtu < found.quoted
    if quote is None:
        assert found.reason == Reason.MALFORMED and not found.accepted


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF))
@settings(max_examples=300, deadline=None)
def test_figures(mtu: int, length: int, sequence: int) -> None:
    found = verdict(true(mtu=mtu, quoted_length=length, payload=esp(SPI, sequence)))
    good = 576 <= mtu < 1500 and mtu < length and 1 <= sequence <= SENT
    assert found.accepted == good
