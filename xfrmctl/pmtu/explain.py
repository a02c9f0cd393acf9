"""The arithmetic as rows for ``xfrmctl mtu``, with the classic header sum beside the exact value.

The classic sum takes every field once and padding as the 3 bytes that RFC 4303's 4-byte alignment can cost::

    inner = outer_mtu - outer IP - UDP - 8 - IV - ICV - 2 - 3

For a path of 1330 bytes with 3DES and HMAC-MD5-96 it is 1330 - 53 = 1277, the figure of Cisco's worked example.
The exact value is 1278: padding is not constant, it fills the last block of the cipher (8 bytes with 3DES, 16
with AES-CBC), and 1278 + 2 happens to need none. The sum errs to either side: at 1500 it gives 1447 where
1446 is the most that fits, and such a packet is lost or fragmented. Sizes are bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.sa import Mode
from xfrmctl.model.sizes import IP_HEADER, IPV6_FLOOR, UDP_HEADER
from xfrmctl.model.suite import Suite
from xfrmctl.pmtu.clamp import mss
from xfrmctl.pmtu.overhead import (
    AH_HEADER,
    ESP_HEADER,
    ESP_TRAILER,
    ah_size,
    alignment,
    inner_mtu,
    outer_mtu_for,
    packet_size,
)

CLASSIC_PADDING = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the sum: what it is, its bytes (negative where they are taken away), and why."""

    label: str
    bytes: int
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The whole sum. ``mss`` values are None where nothing is left for data."""

    suite: str
    outer_mtu: int
    outer_version: int
    encap: bool
    mode: str
    rows: tuple[Row, ...]
    inner_mtu: int
    overhead: int
    mss_ipv4: int | None
    mss_ipv6: int | None
    largest_packet: int
    one_byte_more: int
    classic_inner_mtu: int
    notes: tuple[str, ...]


def classic_inner_mtu(outer_mtu: int, suite: Suite, outer_version: int, encap: bool) -> int:
    """The classic header sum (see above): for comparison only, never for a setting. AH pads nothing: it is exact."""
    if suite.protocol == ProtocolId.AH:
        return inner_mtu(outer_mtu, suite, outer_version, encap)
    udp = UDP_HEADER if encap else 0
    headers = IP_HEADER[outer_version] + udp + ESP_HEADER + suite.encr_facts.iv + suite.icv
    return outer_mtu - headers - ESP_TRAILER - CLASSIC_PADDING


@dataclass(frozen=True, slots=True)
class _Case:
    """What the sum is made for."""

    outer_mtu: int
    suite: Suite
    version: int
    encap: bool
    mode: Mode


def explain(
    outer_mtu: int, suite: Suite, outer_version: int = 4, encap: bool = False, mode: Mode = Mode.TUNNEL
) -> Explanation:
    """Everything ``xfrmctl mtu`` prints.

    Raises ValueError where the path has no room for ESP at all.
    """
    case = _Case(outer_mtu, suite, outer_version, encap, mode)
    inner = inner_mtu(outer_mtu, suite, outer_version, encap, mode)
    largest = packet_size(inner, suite, outer_version, encap, mode)
    classic = classic_inner_mtu(outer_mtu, suite, outer_version, encap)
    return Explanation(
        suite=shown(suite),
        outer_mtu=outer_mtu,
        outer_version=outer_version,
        encap=encap,
        mode=mode.value,
        rows=_rows(case, largest),
        inner_mtu=inner,
        overhead=outer_mtu - inner,
        mss_ipv4=_mss(inner, 4),
        mss_ipv6=_mss(inner, 6),
        largest_packet=largest,
        one_byte_more=packet_size(inner + 1, suite, outer_version, encap, mode),
        classic_inner_mtu=classic,
        notes=tuple(_notes(case, inner, classic)),
    )


def shown(suite: Suite) -> str:
    """Cipher and integrity only: the words that change sizes."""
    words = ["ah" if suite.protocol == ProtocolId.AH else suite.encr_facts.keyword.format(suite.key_bits)]
    if suite.integ_facts:
        words.append(suite.integ_facts.keyword)
    return "-".join(words)


def _mss(inner: int, version: int) -> int | None:
    try:
        return mss(inner, version)
    except ValueError:
        return None


def _rows(case: _Case, largest: int) -> tuple[Row, ...]:
    suite, facts = case.suite, case.suite.encr_facts
    header = "new header (tunnel mode)" if case.mode == Mode.TUNNEL else "the packet's own header"
    rows = [
        Row("outer MTU", case.outer_mtu, "largest IP packet the path carries"),
        Row(f"outer IPv{case.version}", -IP_HEADER[case.version], header),
    ]
    if case.encap:
        rows.append(Row("UDP", -UDP_HEADER, "encapsulation in UDP 4500 (RFC 3948)"))
    rows += (
        _ah_rows(case)
        if suite.protocol == ProtocolId.AH
        else [
            Row("ESP header", -ESP_HEADER, "SPI and sequence number (RFC 4303 2)"),
            Row("IV", -facts.iv, facts.keyword.format(suite.key_bits)),
            Row("ICV", -suite.icv, suite.integ_facts.keyword if suite.integ_facts else "part of the cipher"),
            Row("left over", largest - case.outer_mtu, f"the rest is cut to whole blocks of {alignment(suite)}"),
            Row("trailer", -ESP_TRAILER, "pad length and next header"),
        ]
    )
    if case.mode == Mode.TRANSPORT:
        rows.append(Row("IP header", IP_HEADER[case.version], "counts as part of the packet"))
    return tuple(rows)


def _ah_rows(case: _Case) -> list[Row]:
    size = ah_size(case.suite, case.version)
    rest = size - AH_HEADER - case.suite.icv
    rows = [
        Row("AH", -AH_HEADER, "next header, length, SPI, sequence number (RFC 4302 2)"),
        Row("ICV", -case.suite.icv, case.suite.integ_facts.keyword if case.suite.integ_facts else ""),
    ]
    return rows + ([Row("padding", -rest, "the header is a multiple of 8 bytes over IPv6")] if rest else [])


def _notes(case: _Case, inner: int, classic: int) -> Iterator[str]:
    block = alignment(case.suite)
    if case.mode == Mode.TUNNEL and classic == inner:
        yield f"The classic header sum gives {classic} as well."
    elif case.mode == Mode.TUNNEL and classic < inner:
        yield (
            f"The classic header sum gives {classic}, {inner - classic} less than fits: it counts 3 bytes of "
            f"padding always, while {inner} + 2 is a whole number of blocks of {block} and needs none."
        )
    elif case.mode == Mode.TUNNEL:
        size = packet_size(classic, case.suite, case.version, case.encap)
        yield (
            f"The classic header sum gives {classic}, which does NOT fit: it counts 3 bytes of padding "
            f"always, while blocks of {block} make a packet of {size} bytes out of it."
        )
    if inner < IPV6_FLOOR:
        need = outer_mtu_for(IPV6_FLOOR, case.suite, case.version, case.encap, case.mode)
        yield (
            f"IPv6 inside needs {IPV6_FLOOR} bytes (RFC 8200 5): that takes an outer MTU of {need}. Below it "
            "only TCP works (by its MSS); other IPv6 packets of full size are lost."
        )
