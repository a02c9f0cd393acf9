"""How single values are written, as types for the schema: each parses, or says what is wrong and the cure.

Every type carries its JSON schema, so that editors can check and complete what the daemon will accept.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import PlainValidator, WithJsonSchema

from xfrmctl.config.document import FileReference
from xfrmctl.config.problem import Wrong
from xfrmctl.crypto.certificate import parse_name
from xfrmctl.model.address import IPAddress
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.iana import IdType, ProtocolId
from xfrmctl.model.identity import Identity, IdentityPattern, parse_identity
from xfrmctl.model.plane import ALL_BITS, Mark
from xfrmctl.model.selector import TrafficSelector, parse_selector
from xfrmctl.model.suite import Proposal, parse_proposal

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BYTES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
MAX_COUNT = 2**63 - 1
"""The kernel's limits are 64 bits; one bit less keeps every tool on the way happy."""

MTU_RANGE = (576, 65535)
"""RFC 791: every IPv4 path carries 576 bytes (as fragments, if need be); the upper end is IPv4's own."""

MSS_RANGE = (256, 65495)
"""From Linux's net.ipv4.route.min_adv_mss up to 65535 minus IPv4 and TCP headers."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a TCP server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def advice(message: str) -> Wrong:
    """Cut a message of the model ("what is wrong: what to do") into cause and cure."""
    if "; did you mean" in message:
        cause, _, rest = message.partition("; did you mean")
        return Wrong(cause, "did you mean" + rest)
    if " Known: " in message:
        cause, _, rest = message.partition(" Known: ")
        return Wrong(cause, f"use some of: {rest}")
    cause, colon, cure = message.rpartition(": ")
    return Wrong(cause, cure) if colon else Wrong(message, "see the example in `xfrmctl check --help`")


def _text(value: object, example: str) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, FileReference):
        raise Wrong("!file and !credential are for secrets only", f"write the value itself, such as {example}")
    raise Wrong(f"{_shown(value)} is not a single value", f"write one such as {example}")


def _shown(value: object) -> str:
    kind = {dict: "a mapping", list: "a list", type(None): "nothing"}.get(type(value))
    return kind or repr(value)


def seconds(value: object) -> float:
    """``30s``, ``500ms``, ``5m``, ``4h``, ``1d``; more than 0."""
    text = _text(value, "30s")
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(ms|s|m|h|d)", text)
    if match is None:
        if re.fullmatch(r"[0-9.]+", text):
            raise Wrong(f"{text!r} has no unit", f"write {text}s, {text}m, {text}h or {text}d")
        raise Wrong(f"{text!r} is no duration", "write a number and a unit, such as 30s, 5m, 4h or 1d")
    found = float(match[1]) * _SECONDS[match[2]]
    if found <= 0:
        raise Wrong(f"{text!r} is no time at all", "write a duration above zero, or leave the key out")
    return found


def seconds_or_off(value: object) -> float | None:
    """A duration, or ``off`` for None."""
    return None if value == "off" else seconds(value)


def byte_count(value: object) -> int:
    """``10G`` (decimal) or ``10Gi`` (binary) or plain bytes; 1 to 2^63-1."""
    text = _text(value, "10G")
    match = re.fullmatch(r"([0-9]{1,19})\s*([KMGTP]|[KMGT]i|)B?", text)
    if match is None:
        raise Wrong(f"{text!r} is no number of bytes", "write one such as 10G, 500M or 10Gi")
    return _count(int(match[1]) * _BYTES[match[2]], text)


def packet_count(value: object) -> int:
    """A number of packets, 1 to 2^63-1."""
    text = _text(value, "1000000")
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise Wrong(f"{text!r} is no number of packets", "write one such as 1000000")
    return _count(int(text), text)


def _count(number: int, text: str) -> int:
    if not 1 <= number <= MAX_COUNT:
        raise Wrong(f"{text!r} is out of range", f"write 1 to {MAX_COUNT}, or leave the key out for no limit")
    return number


def tries(value: object) -> int | None:
    """A number of attempts, or ``forever`` for None."""
    if value == "forever":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000_000:
        raise Wrong(f"{_shown(value)} is no number of attempts", "write forever, or a number such as 5")
    return value


def in_range(low: int, high: int, what: str, cure: str) -> Callable[[object], int]:
    """A validator for whole numbers from ``low`` to ``high``."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong(f"{_shown(value)} is no {what}", cure)
        if not low <= value <= high:
            raise Wrong(f"{value} is out of range for {what}: {low} to {high}", cure)
        return value

    return check


_mtu_number = in_range(*MTU_RANGE, "outer MTU in bytes", "write auto, or what the path carries, such as 1400")
_packet_number = in_range(*MTU_RANGE, "packet size in bytes", "write auto, off, or a number such as 576")
_mss_number = in_range(*MSS_RANGE, "MSS in bytes", "write auto, off, or a number such as 1360")


def outer_mtu(value: object) -> int | None:
    """``auto`` for None, or the outer_mtu of the path in bytes."""
    return None if value == "auto" else _mtu_number(value)


def fragmentation(value: object) -> int | None:
    """``auto`` (1280), ``off`` for None, or the largest IP packet of IKE in bytes."""
    if value == "auto":
        return 1280
    return None if value == "off" else _packet_number(value)


def mss(value: object) -> Literal["auto", "off"] | int:
    """``auto``, ``off``, or bytes."""
    if value == "auto":
        return "auto"
    return "off" if value == "off" else _mss_number(value)


def replay_window(value: object) -> int:
    """Packets; the kernel keeps a bitmap of 32-bit words of at most 4096 bits (XFRMA_REPLAY_ESN_MAX). ``off`` is 0."""
    if value in ("off", 0) and not isinstance(value, bool):
        return 0
    cure = "write a multiple of 32, such as 128; or off"
    number = in_range(32, 4096, "replay window in packets", cure)(value)
    if number % 32:
        raise Wrong(f"{number} is no multiple of 32", f"write {number // 32 * 32 + 32}")
    return number


def echo(value: object) -> Literal["auto", "off"] | IPAddress:
    """``auto``, ``off``, or an address."""
    return "auto" if value == "auto" else "off" if value == "off" else host_address(value)


def mark(value: object) -> Mark:
    """``42``, ``0x2a``, ``0x2a/0xff``: a packet mark and the bits of it that count."""
    cure = "write such as 42, 0x2a or 0x2a/0xff"
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value, "0x2a/0xff")
    parts = [_number(part) for part in text.split("/")]
    if len(parts) > 2 or any(part is None or part > ALL_BITS for part in parts):
        raise Wrong(f"{_shown(value)} is no mark", cure)
    found = Mark(*(part for part in parts if part is not None))
    if not found.mask:
        raise Wrong(f"{_shown(value)} has an empty mask: it would be any packet's", "leave the mark out")
    if found.value & ~found.mask:
        raise Wrong(f"{_shown(value)} has bits outside its mask", f"write {Mark(found.value & found.mask, found.mask)}")
    return found


def _number(text: str) -> int | None:
    return int(text, 0) if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|0|[1-9][0-9]{0,9}", text.strip()) else None


def address(value: object) -> IPAddress | None:
    """An IP address, or ``any`` for None."""
    text = _text(value, "192.0.2.1")
    if text == "any":
        return None
    try:
        found = ip_address(text)
    except ValueError:
        raise Wrong(f"{text!r} is no IP address", "write one such as 192.0.2.1 or 2001:db8::1, or any") from None
    if found.is_unspecified or found.is_multicast:
        raise Wrong(f"{found} cannot be a gateway's address", "write a unicast address, or any")
    return found


def host_address(value: object) -> IPAddress:
    """An IP address."""
    found = address(value)
    if found is None:
        raise Wrong("any is no address", "write one such as 192.0.2.1 or 2001:db8::1")
    return found


def identity(value: object) -> Identity | IdentityPattern | None:
    """An IKE identity, or a pattern of such (``dn:`` is one always), or ``any`` for None."""
    text = _text(value, "fqdn:moon.example.org")
    if text == "any":
        return None
    kind, colon, rest = text.partition(":")
    if kind == "dn" and colon:
        try:
            return IdentityPattern(IdType.DER_ASN1_DN, rest.strip(), parse_name(rest))
        except ValueError:
            raise Wrong(f"{text!r} is no distinguished name", "write one such as dn:CN=moon,O=Example,C=DE") from None
    if "*" in text and kind in ("fqdn", "email"):
        if not rest.startswith("*") or "*" in rest[1:] or not rest.isascii():
            raise Wrong(f"{text!r}: one * at the beginning is all there may be", f"write {kind}:*.example.org")
        return IdentityPattern(IdType.FQDN if kind == "fqdn" else IdType.RFC822_ADDR, rest)
    if colon and not rest and kind in ("fqdn", "email", "keyid", "ipv4", "ipv6"):
        raise Wrong(f"{text!r} is empty after the colon", f"write {kind}:NAME")
    try:
        return parse_identity(text)
    except ValueError as error:
        raise advice(str(error)) from None


def selector(value: object) -> TrafficSelector:
    """A network or a range of addresses, with or without protocol and ports."""
    cure = "write a network such as 10.1.0.0/16, or a range such as 10.1.1.1-10.1.1.9"
    text = _text(value, "10.1.0.0/16")
    try:
        return parse_selector(text)
    except ValueError as error:
        found = advice(str(error))
        raise Wrong(found.cause, found.cure if found.cure.startswith(("write", "leave", "did")) else cure) from None


def proposal_of(protocol: ProtocolId) -> Callable[[object], Proposal]:
    """A validator for proposals of one protocol."""
    example = {ProtocolId.IKE: "aes256gcm16-prfsha384-x25519", ProtocolId.AH: "sha256"}.get(protocol, "aes256gcm16")

    def check(value: object) -> Proposal:
        try:
            return parse_proposal(_text(value, example), protocol)
        except XfrmctlError as error:
            raise advice(str(error)) from None

    return check


def interface_name(value: object) -> str:
    """A name the kernel accepts (dev_valid_name, IFNAMSIZ) and that is not one of our own default names."""
    text = _text(value, "ipsec0")
    if len(text.encode()) > 15:
        raise Wrong(f"{text!r} is longer than the kernel's 15 bytes", f"write a shorter name: {text[:15]}")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", text) or text in (".", "..", "all", "default", "lo"):
        raise Wrong(f"{text!r} is no interface name", "use letters, digits, '.', '_' and '-'")
    if text.startswith("xfc-"):
        raise Wrong(f"{text!r}: names with xfc- are given by xfrmctl itself", "choose another, such as ipsec0")
    return text


def listen(value: object) -> ListenAddress | None:
    """``ADDRESS:PORT`` with ``[...]`` around IPv6, or ``off`` for None."""
    text = _text(value, "127.0.0.1:9877")
    if text == "off":
        return None
    cure = "write ADDRESS:PORT, such as 127.0.0.1:9877 or [::1]:9877, or off"
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    try:
        if match is None or not 0 < int(match[3]) < 65536:
            raise ValueError
        return ListenAddress(str(ip_address(match[1] or match[2])), int(match[3]))
    except ValueError:
        raise Wrong(f"{text!r} is no address to listen on", cure) from None


def secret(value: object) -> str | FileReference:
    """A secret as it is written; :mod:`xfrmctl.config.secrets` fetches and decodes it."""
    if isinstance(value, FileReference):
        return value
    if isinstance(value, bool) or value is None:
        raise Wrong("the secret is missing", "write psk: !file secrets/NAME.psk")
    return _text(value, "!file secrets/NAME.psk")


def file_path(value: object) -> str:
    """A path; ``!file`` before it says nothing new."""
    if isinstance(value, FileReference):
        return value.path
    return _text(value, "certs/moon.pem")


WRITTEN = "x-written"
"""Keyword of a type's JSON schema: how a value is written. A ``description`` would be replaced by that of the key."""


def _schema(kind: str | list[str], written: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, WRITTEN: written, **more})


_DURATION = r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)$"
Seconds = Annotated[float, PlainValidator(seconds), _schema("string", "duration: 30s, 5m, 4h", pattern=_DURATION)]
SecondsOrOff = Annotated[
    float | None, PlainValidator(seconds_or_off), _schema("string", "duration such as 30s, or off")
]
ByteCount = Annotated[
    int, PlainValidator(byte_count), _schema(["string", "integer"], "bytes: 10G (10^10), 10Gi, 1000000")
]
PacketCount = Annotated[int, PlainValidator(packet_count), _schema("integer", "packets", minimum=1)]
Tries = Annotated[int | None, PlainValidator(tries), _schema(["string", "integer"], "forever, or a number of attempts")]
OuterMtu = Annotated[
    int | None,
    PlainValidator(outer_mtu),
    _schema(
        ["string", "integer"],
        "auto, or the outer MTU: the largest IP packet, in bytes, that the path to the peer carries",
    ),
]
Fragmentation = Annotated[
    int | None,
    PlainValidator(fragmentation),
    _schema(
        ["string", "integer"],
        "auto, off, or the largest IP packet in bytes that carries IKE: what is larger goes as fragments (RFC 7383)",
    ),
]
Mss = Annotated[
    Literal["auto", "off"] | int,
    PlainValidator(mss),
    _schema(["string", "integer"], "auto, off, or the MSS in bytes"),
]
ReplayWindow = Annotated[
    int,
    PlainValidator(replay_window),
    _schema(["integer", "string"], "packets, or off", minimum=0, maximum=4096, multipleOf=32),
]
PacketMark = Annotated[
    Mark, PlainValidator(mark), _schema(["integer", "string"], "a packet mark: 42, 0x2a, or with a mask 0x2a/0xff")
]
Address = Annotated[IPAddress | None, PlainValidator(address), _schema("string", "IP address, or any")]
HostAddress = Annotated[IPAddress, PlainValidator(host_address), _schema("string", "IP address")]
Echo = Annotated[
    Literal["auto", "off"] | IPAddress, PlainValidator(echo), _schema("string", "auto, off, or an IP address")
]
IkeIdentity = Annotated[
    Identity | IdentityPattern | None,
    PlainValidator(identity),
    _schema("string", "fqdn:NAME, fqdn:*.NAME, email:USER@HOST, dn:CN=…, keyid:TEXT, an IP address, or any"),
]
Selector = Annotated[
    TrafficSelector, PlainValidator(selector), _schema("string", "10.1.0.0/16, 10.1.1.1-10.1.1.9, 10.1.0.0/16[tcp/443]")
]
IkeProposal = Annotated[
    Proposal,
    PlainValidator(proposal_of(ProtocolId.IKE)),
    _schema("string", "IKE proposal such as aes256gcm16-prfsha384-x25519"),
]
EspProposal = Annotated[
    Proposal,
    PlainValidator(proposal_of(ProtocolId.ESP)),
    _schema("string", "ESP proposal such as aes256gcm16 or, with PFS, aes256gcm16-x25519"),
]
AhProposal = Annotated[
    Proposal,
    PlainValidator(proposal_of(ProtocolId.AH)),
    _schema("string", "AH proposal such as sha256 or, with PFS, sha512-x25519"),
]
InterfaceName = Annotated[
    str, PlainValidator(interface_name), _schema("string", "name of the xfrm interface", maxLength=15)
]
Listen = Annotated[
    ListenAddress | None,
    PlainValidator(listen),
    _schema("string", "ADDRESS:PORT such as 127.0.0.1:9877, or off"),
]
FilePath = Annotated[str, PlainValidator(file_path), _schema("string", "path, from the configuration file on")]
Secret = Annotated[
    str | FileReference,
    PlainValidator(secret),
    _schema("string", "!file PATH (best), !credential NAME, or the key itself: text, 0x hex, 0s base64"),
]
