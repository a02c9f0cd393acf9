"""The keys of one child: what it carries and how."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo

from xfrmctl.config.mapping import IfId, Many, Section, Strict
from xfrmctl.config.problem import SAMPLES, Wrong
from xfrmctl.config.schema_tunnel import Tunnel
from xfrmctl.config.spelling import (
    AhProposal,
    ByteCount,
    EspProposal,
    InterfaceName,
    Mss,
    OuterMtu,
    PacketCount,
    PacketMark,
    ReplayWindow,
    Seconds,
    SecondsOrOff,
    Selector,
    mark,
    proposal_of,
)
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.selector import TrafficSelector

DEFAULT_ESP = ("aes256gcm16-aes128gcm16-chacha20poly1305", "aes256-aes128-sha256")
ESP_PROPOSALS = tuple(proposal_of(ProtocolId.ESP)(text) for text in DEFAULT_ESP)


def _written_for_tunnels(value: tuple[TrafficSelector, ...], info: ValidationInfo) -> tuple[TrafficSelector, ...]:
    """Only in transport mode does it go without saying what a child carries. Both keys are validated before."""
    if not value and info.data.get("mode", "tunnel") == "tunnel" and info.data.get("tunnel", Tunnel) is None:
        raise Wrong("missing", f"add {SAMPLES[str(info.field_name)]}")
    return value


Selectors = Annotated[tuple[Selector, ...], Many, AfterValidator(_written_for_tunnels)]


class ChildLifetime(Strict):
    """The hard limits of an SA: it ends there, rekeyed or not. They only matter where rekeying fails.

    What is left out is well above the limit for rekeying.
    """

    time: Seconds | None = None
    """Age at which the SA ends. Without it: 1.2 times ``rekey.time``."""
    bytes: ByteCount | None = None
    """Bytes after which the SA ends. Without it: twice ``rekey.bytes``, at least 1 GiB above it; or no limit."""
    packets: PacketCount | None = None
    """Packets after which the SA ends. Without it: twice ``rekey.packets``, at least 2^20 above it; or no limit."""


class ChildRekey(Strict):
    """When an SA gets a successor with new keys (RFC 7296 2.8), up to a tenth earlier: not all at once."""

    time: SecondsOrOff = 3600.0
    """Age at which the SA is rekeyed."""
    bytes: ByteCount | None = None
    """Bytes after which the SA is rekeyed; without it any number will do. AES-CBC on a fast link wants a limit."""
    packets: PacketCount | None = None
    """Packets after which the SA is rekeyed. Without ESN it has 2^32 numbers: write less for fast links."""


def _both_ways(value: Any) -> Any:
    """A single mark stands for both directions."""
    if not isinstance(value, (str, int)):
        return value
    mark(value)  # what is wrong is told once
    return {"inbound": value, "outbound": value}


class Dscp(Strict):
    """What becomes of the DSCP where a tunnel begins and ends (RFC 4301 5.1.2)."""

    outbound: Literal["copy", "none"] = "copy"
    """Whether the outer header takes the inner packet's DSCP. ``none`` hides from the path what is voice."""
    inbound: Literal["keep", "copy"] = "keep"
    """Whether the inner packet keeps its DSCP or takes the outer header's: ``copy`` only where the path is trusted."""


class Marks(Strict):
    """Packet marks of Linux, one for each direction. A single value instead of the mapping stands for both."""

    inbound: PacketMark | None = None
    """The mark of packets that come in."""
    outbound: PacketMark | None = None
    """The mark of packets that go out."""


class Child(Strict):
    """One CHILD SA: what it carries and how. NAME is yours; log, `show` and metrics use it."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {
                "anyOf": [
                    {"properties": {"mode": {"pattern": "^transport"}}, "required": ["mode"]},
                    {"required": ["tunnel"]},
                ]
            },
            "else": {"required": ["local_ts", "remote_ts"]},
        }
    )

    mode: Literal["tunnel", "transport", "transport-or-tunnel"] = "tunnel"
    """``tunnel`` carries networks, ``transport`` only what the two gateways say to each other, under their own header.

    ``transport-or-tunnel`` asks for transport and takes a tunnel from a peer that insists on one.
    """
    tunnel: Tunnel | None = None
    local_ts: Selectors = Field(default=(), validate_default=True)
    """Traffic selectors of our side. Required, but in transport mode, where they are ``local.address`` if left out, and
    with ``tunnel``, where they are its packets."""
    remote_ts: Selectors = Field(default=(), validate_default=True)
    """Traffic selectors of the peer's side. Required, but in transport mode, where they are ``remote.address``."""
    esp: Annotated[tuple[EspProposal, ...], Many] = Field(default_factory=lambda: ESP_PROPOSALS)
    """ESP proposals (RFC 4303), the best first. A key exchange method in one, such as ``x25519``, gives PFS."""
    ah: Annotated[tuple[AhProposal, ...], Many] = ()
    """AH proposals (RFC 4302) in the place of ``esp``, for peers that insist on it: AH encrypts nothing."""
    dataplane: Literal["policy", "interface"] = "policy"
    """``policy``: the kernel's SPD takes the packets of the selectors. ``interface``: routes into an xfrm interface do.

    Take ``interface`` where firewall rules, counters or an MTU should hang on a device.
    """
    interface: InterfaceName | None = None
    """Name of the xfrm interface, with ``dataplane: interface``. Without it: ``xfc-`` and a number."""
    start: Literal["none", "trap", "start"] | None = None
    """When it is negotiated: ``trap`` on its first packet, ``start`` at once and again whenever it goes down.

    ``none`` waits for the peer or for `xfrmctl up`. Without the key: ``trap``; ``start`` with ``tunnel``; ``none``
    without ``remote.address``.
    """
    mtu: OuterMtu = None
    """Outer MTU of the path to the peer; inner MTU and MSS follow from it. ``auto`` is what ``gateway.path_mtu`` finds.

    Write a number where you know what the path carries: it is then taken as it is, and nothing is probed.
    """
    mss: Mss = "auto"
    """TCP MSS of connections through the child, both directions. ``auto`` follows the MTU, ``off`` clamps nothing.

    Where there is a ``tunnel``, nftables does it, and only these two words are possible.
    """
    df: Literal["copy", "set", "clear"] = "copy"
    """DF bit of the outer IPv4 header (RFC 4301 8.1). ``clear`` lets routers fragment ESP: slow, for paths that lie.

    ``set`` is for paths that lose fragments: no packet of the child goes without it. It needs ``dataplane: interface``,
    and nftables. With ``copy`` a packet without DF gets none outside; nor has any while less than 1280 bytes fit IPv6
    inside, for routers to fragment. An IPv6 header has no such bit. A change takes effect by a rekey.
    """
    oversize: Literal["icmp", "fragment"] = "icmp"
    """What becomes of inner IPv4 packets with DF that do not fit: ``icmp`` tells their sender the size that does.

    ``fragment`` clears their DF, and has them go in fragments that fit, for hosts that no ICMP reaches. It needs
    ``dataplane: interface``, and nftables. TCP with the IPv4 identification 0 (BSD, Apple) gets ICMP all the same.
    """
    replay_window: ReplayWindow = 128
    """How late a packet may come (RFC 4303 3.4.3), in packets; ``off`` lets replays in.

    More for paths that reorder: as many as wait in the longest queue that others overtake by their DSCP. What is too
    late is counted in `show`.
    """
    dscp: Annotated[Dscp, Section] = Field(default_factory=Dscp)
    ecn: Literal["on", "off"] = "on"
    """Whether congestion marks go from inner to outer header and back (RFC 6040). ``off`` where paths garble them."""
    mark: Annotated[Marks, Section, BeforeValidator(_both_ways)] = Field(default_factory=Marks)
    """Marks that packets must have to be the child's: two children can then have the same selectors."""
    set_mark: Annotated[Marks, Section, BeforeValidator(_both_ways)] = Field(default_factory=Marks)
    """Marks that packets get: decrypted ones for firewall and routing, encrypted ones for their way to the peer.

    Without ``inbound`` decrypted packets get that of ``mark``.
    """
    if_id: IfId | None = None
    """The if_id of an xfrm interface that you make and route yourself; not with ``dataplane: interface``."""
    offload: Literal["auto", "crypto", "no"] = "no"
    """Encryption in the network device. ``auto`` where it can, ``crypto`` also says so where it cannot."""
    fail: Literal["closed", "open"] = "closed"
    """What becomes of its packets where neither an SA nor a trap stands, as after the end of the daemon.

    ``closed`` blocks them, ``open`` lets them pass in clear.
    """
    rekey: Annotated[ChildRekey, Section] = Field(default_factory=ChildRekey)
    lifetime: Annotated[ChildLifetime, Section] = Field(default_factory=ChildLifetime)
