"""Which keys a configuration has, of which kind, with which defaults.

The picture of DESIGN 4. A key that is not here is an error: what a newer version understands must not be
taken for understood by this one.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from xfrmctl.config.document import FileReference
from xfrmctl.config.problem import SAMPLES, Wrong
from xfrmctl.config.spelling import (
    Address,
    AhProposal,
    ByteCount,
    EspProposal,
    FilePath,
    Fragmentation,
    HostAddress,
    IkeIdentity,
    IkeProposal,
    InterfaceName,
    Listen,
    Mss,
    OuterMtu,
    PacketCount,
    PacketMark,
    ReplayWindow,
    Seconds,
    SecondsOrOff,
    Secret,
    Selector,
    Tries,
    in_range,
    mark,
    proposal_of,
)
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.suite import Proposal

DEFAULT_IKE = (
    "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha384-prfsha256-x25519-ecp256-ecp384-modp3072-modp2048",
    "aes256-aes128-sha384-sha256-x25519-ecp256-modp2048",
)
DEFAULT_ESP = ("aes256gcm16-aes128gcm16-chacha20poly1305", "aes256-aes128-sha256")
MAX_NAME = 64


def _defaults(texts: tuple[str, ...], protocol: ProtocolId) -> tuple[Proposal, ...]:
    parse = proposal_of(protocol)
    return tuple(parse(text) for text in texts)


IKE_PROPOSALS = _defaults(DEFAULT_IKE, ProtocolId.IKE)
ESP_PROPOSALS = _defaults(DEFAULT_ESP, ProtocolId.ESP)


def _one_or_many(value: Any) -> Any:
    """A single value stands for a list of one."""
    if isinstance(value, (str, int, FileReference)):
        return [value]
    if isinstance(value, list) and not value:
        raise Wrong("the list is empty", "write at least one entry, or leave the key out for the default")
    return value


def _empty_is_default(value: Any) -> Any:
    """``ike:`` with nothing after it means all its defaults."""
    return {} if value is None else value


def _written_for_tunnels(value: tuple[TrafficSelector, ...], info: ValidationInfo) -> tuple[TrafficSelector, ...]:
    """Only in transport mode does it go without saying what a child carries. ``mode`` is validated before."""
    if not value and info.data.get("mode", "tunnel") == "tunnel":
        raise Wrong("missing", f"add {SAMPLES[str(info.field_name)]}")
    return value


Many = BeforeValidator(_one_or_many)
Selectors = Annotated[tuple[Selector, ...], Many, AfterValidator(_written_for_tunnels)]
Section = BeforeValidator(_empty_is_default)
Port = in_range(1, 65535, "UDP port", "write one such as 500")
IfId = in_range(1, 2**32 - 1, "if_id", "write the number of your xfrm interface: ip -d link show")
Count = in_range(1, 1_000_000, "number of half-open IKE SAs", "write one such as 1000")


class Strict(BaseModel):
    """A mapping of the file: unknown keys are errors, nothing can be changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Ports(Strict):
    """UDP ports of ours; anything but 500 and 4500 needs peers that know."""

    ike: Annotated[int, BeforeValidator(Port)] = 500
    nat_t: Annotated[int, BeforeValidator(Port)] = 4500


class Limits(Strict):
    """Bounds on what strangers can make us remember (RFC 7296 2.6)."""

    half_open: Annotated[int, BeforeValidator(Count)] = 1000
    half_open_per_source: Annotated[int, BeforeValidator(Count)] = 20
    cookies_from: Annotated[int, BeforeValidator(in_range(0, 1_000_000, "number", "write one such as 50"))] = 50
    half_open_timeout: Seconds = 30.0


class Retransmit(Strict):
    """Retransmission of one IKE request: the first wait, its growth, how often, the longest wait."""

    first: Seconds = 1.0
    factor: float = Field(default=1.8, ge=1.1, le=10)
    tries: Annotated[int, BeforeValidator(in_range(1, 30, "number of retransmissions", "write such as 7"))] = 7
    max: Seconds = 64.0


class PathMtu(Strict):
    """How the path MTU is found: by probes and errors of routers, or by the latter alone.

    ``aging`` is the age at which a path is probed upwards again (RFC 1191 6.3); traffic has its path confirmed every
    ``confirm``.
    """

    probe: bool = True
    aging: SecondsOrOff = 600.0
    confirm: SecondsOrOff = 15.0


class Bypass(Strict):
    """Traffic that never enters a tunnel, in both directions."""

    local: Selector
    remote: Selector


IcmpPolicy = Literal["validate", "ignore", "trust"]


class Icmp(Strict):
    """ICMP errors about the path to a peer, by type (RFC 4301 6.1.1)."""

    frag_needed: IcmpPolicy = "validate"
    packet_too_big: IcmpPolicy = "validate"


class Gateway(Strict):
    """Settings of this machine."""

    metrics: Listen = None
    bypass: tuple[Bypass, ...] = ()
    ports: Annotated[Ports, Section] = Field(default_factory=Ports)
    limits: Annotated[Limits, Section] = Field(default_factory=Limits)
    retransmit: Annotated[Retransmit, Section] = Field(default_factory=Retransmit)
    path_mtu: Annotated[PathMtu, Section] = Field(default_factory=PathMtu)
    control_group: str | None = Field(default=None, min_length=1)
    crash_detection: bool = True
    icmp: Annotated[Icmp, Section] = Field(default_factory=Icmp)


class Side(Strict):
    """One end of a connection."""

    address: Address = None
    id: IkeIdentity = None


class LocalSide(Side):
    """Our end; ``alternates`` are further addresses of ours, in the order in which they take over (MOBIKE)."""

    alternates: Annotated[tuple[HostAddress, ...], Many] = ()


class Auth(Strict):
    """How the two ends prove who they are; ``psks`` has a key for each of many peers, by identity."""

    psk: Secret | None = None
    psks: Annotated[dict[str, Secret], Section] = Field(default_factory=dict)
    certificate: FilePath | None = None
    key: FilePath | None = None
    pubkey: FilePath | None = None
    remote_pubkey: Annotated[tuple[FilePath, ...], Many] = ()
    ca: Annotated[tuple[FilePath, ...], Many] = ()
    crl: Annotated[tuple[FilePath, ...], Many] = ()
    ocsp: Annotated[tuple[FilePath, ...], Many] = ()
    fetch: bool = False
    revocation: Literal["relaxed", "strict", "off"] = "relaxed"
    rsa: Literal["auto", "pss", "pkcs1"] = "auto"
    sha1: bool = False


class Ike(Strict):
    """The IKE SA."""

    proposals: Annotated[tuple[IkeProposal, ...], Many] = Field(default_factory=lambda: IKE_PROPOSALS)
    dpd: SecondsOrOff = 30.0
    rekey: SecondsOrOff = 4 * 3600.0
    reauth: SecondsOrOff = None
    keepalive: Seconds = 20.0
    encap: Literal["auto", "always"] = "auto"
    fragmentation: Fragmentation = 1280
    mobike: bool = True
    childless: Literal["allow", "force", "never"] = "allow"
    retransmit: Annotated[Retransmit | None, Section] = None


class Retry(Strict):
    """What follows a failed negotiation."""

    tries: Tries = None
    first: Seconds = 2.0
    max: Seconds = 300.0


class ChildLifetime(Strict):
    """The hard limit after which an SA ends; what is left out is well above the limit for its rekeying."""

    time: Seconds | None = None
    bytes: ByteCount | None = None
    packets: PacketCount | None = None


class ChildRekey(Strict):
    """When an SA gets a successor with new keys; up to a tenth earlier, so that not everybody rekeys at once."""

    time: SecondsOrOff = 3600.0
    bytes: ByteCount | None = None
    packets: PacketCount | None = None


def _both_ways(value: Any) -> Any:
    """A single mark stands for both directions."""
    if not isinstance(value, (str, int)):
        return value
    mark(value)  # what is wrong is told once
    return {"inbound": value, "outbound": value}


class Dscp(Strict):
    """What becomes of the DSCP where a tunnel begins and ends (RFC 4301 5.1.2)."""

    outbound: Literal["copy", "none"] = "copy"
    inbound: Literal["keep", "copy"] = "keep"


class Marks(Strict):
    """Packet marks of Linux, one for each direction."""

    inbound: PacketMark | None = None
    outbound: PacketMark | None = None


class Child(Strict):
    """One CHILD SA: what it carries and how. Transport mode without selectors is between the two addresses."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"mode": {"pattern": "^transport"}}, "required": ["mode"]},
            "else": {"required": ["local_ts", "remote_ts"]},
        }
    )

    mode: Literal["tunnel", "transport", "transport-or-tunnel"] = "tunnel"
    local_ts: Selectors = Field(default=(), validate_default=True)
    remote_ts: Selectors = Field(default=(), validate_default=True)
    esp: Annotated[tuple[EspProposal, ...], Many] = Field(default_factory=lambda: ESP_PROPOSALS)
    ah: Annotated[tuple[AhProposal, ...], Many] = ()
    dataplane: Literal["policy", "interface"] = "policy"
    interface: InterfaceName | None = None
    start: Literal["none", "trap", "start"] | None = None
    mtu: OuterMtu = None
    mss: Mss = "auto"
    df: Literal["copy", "clear"] = "copy"
    replay_window: ReplayWindow = 128
    dscp: Annotated[Dscp, Section] = Field(default_factory=Dscp)
    ecn: Literal["on", "off"] = "on"
    mark: Annotated[Marks, Section, BeforeValidator(_both_ways)] = Field(default_factory=Marks)
    set_mark: Annotated[Marks, Section, BeforeValidator(_both_ways)] = Field(default_factory=Marks)
    if_id: Annotated[int, BeforeValidator(IfId)] | None = None
    offload: Literal["auto", "crypto", "no"] = "no"
    fail: Literal["closed", "open"] = "closed"
    rekey: Annotated[ChildRekey, Section] = Field(default_factory=ChildRekey)
    lifetime: Annotated[ChildLifetime, Section] = Field(default_factory=ChildLifetime)


class Connection(Strict):
    """One peer; or, without remote.address, everybody who brings the right proof, from wherever."""

    local: Annotated[LocalSide, Section] = Field(default_factory=LocalSide)
    remote: Annotated[Side, Section] = Field(default_factory=Side)
    auth: Auth
    ike: Annotated[Ike, Section] = Field(default_factory=Ike)
    retry: Annotated[Retry, Section] = Field(default_factory=Retry)
    unique: Literal["replace", "keep", "no"] | None = None
    children: dict[str, Child]


class Policy(Strict):
    """Traffic that no SA is for: it passes in clear, or not at all, in both directions (RFC 4301 4.4.1).

    Among the children's selectors the more specific one comes first; with ``precedence`` it stands before or after all.
    """

    action: Literal["bypass", "discard"]
    local_ts: Annotated[tuple[Selector, ...], Many]
    remote_ts: Annotated[tuple[Selector, ...], Many]
    precedence: Literal["first", "specific", "last"] = "specific"


class File(Strict):
    """A whole configuration file."""

    gateway: Annotated[Gateway, Section] = Field(default_factory=Gateway)
    policies: Annotated[dict[str, Policy], Section] = Field(default_factory=dict)
    connections: Annotated[dict[str, Connection], Section] = Field(default_factory=dict)
