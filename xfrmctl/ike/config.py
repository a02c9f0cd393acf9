"""What the IKE engine is told: connections, children and limits as plain, immutable values.

``xfrmctl.config`` makes them from a file; tests make them by hand. Everything here is already checked: the
engine trusts it. Two values that compare equal mean the same behaviour: a reload compares them.
Names that end in ``_s`` are seconds, sizes are bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal

from xfrmctl.crypto.credential import Credential
from xfrmctl.crypto.rawkey import RawKey
from xfrmctl.model.address import IKE_PORT, NAT_T_PORT, IPAddress
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.identity import Identity, IdentityPattern
from xfrmctl.model.plane import ORDINARY, PlaneOptions
from xfrmctl.model.sa import DataPlane, DfPolicy, Lifetime, Mode, Oversize
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.suite import Proposal
from xfrmctl.model.tunnel import Tunnel

if TYPE_CHECKING:
    from xfrmctl.crypto.trust import TrustStore

MssSetting = Literal["auto", "off"] | int
"""``auto`` follows the path MTU, ``off`` clamps nothing, a number is the MSS itself for either family."""

UNLIMITED = Lifetime()
"""No hard or soft limit."""


PEER_REQIDS = range(0x58800000, 0x59000000)
"""reqids of the peers of a connection that serves many. Configured children have theirs from the half below."""


class Unique(Enum):
    """What happens when an identity turns up that has an IKE SA already.

    REPLACE: the new one takes the old one's place. KEEP: the new one is refused, unless it comes from the same address
    (a reauthentication) or says INITIAL_CONTACT. NO: both are served, as peers of their own.
    """

    REPLACE = "replace"
    KEEP = "keep"
    NO = "no"


class Start(Enum):
    """When a child is negotiated.

    NONE: when the peer asks or an operator says ``xfrmctl up``. TRAP: on the first packet of its selectors.
    START: at once, and again whenever it goes down.
    """

    NONE = "none"
    TRAP = "trap"
    START = "start"


class Childless(Enum):
    """IKE SAs that begin without a CHILD SA (RFC 6023); each child then has a key exchange of its own.

    NEVER: not with us. ALLOW: a peer may. FORCE: we do, and a first child in IKE_AUTH has to wait.
    """

    NEVER = "never"
    ALLOW = "allow"
    FORCE = "force"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetransmitPolicy:
    """Retransmission of one request (RFC 7296 2.1, 2.4).

    The first wait is ``first_s``, each further one ``factor`` times longer up to ``max_s``. After ``tries``
    retransmissions and one more wait the peer counts as silent: 136 s with the defaults.
    """

    first_s: float = 1.0
    factor: float = 1.8
    tries: int = 7
    max_s: float = 64.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What follows a failed negotiation: ``tries`` more, or for ever where it is None.

    The first wait is ``first_s``; it doubles up to ``max_s``.
    """

    tries: int | None = None
    first_s: float = 2.0
    max_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildConfig:
    """One child of a connection.

    ``esp`` are its proposals, all of one protocol: of AH, where a peer insists on it.
    ``mtu`` is the *outer* MTU of the path to the peer, None for what the path MTU engine or the route says.
    ``fail_closed`` keeps a block in the kernel while no SA exists (DESIGN 3.11). ``tunnel_will_do`` is for a child in
    transport mode: a peer that insists on a tunnel gets one. ``reqid`` and ``if_id`` come
    from :mod:`xfrmctl.config.numbering` and stay the same over reloads and restarts; ``if_id`` is 0 and
    ``interface`` None with the policy data plane, unless the operator has written an if_id of a device of their own.
    ``tunnel`` is the device whose packets the child carries; to negotiation it is nothing.
    """

    name: str
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    esp: tuple[Proposal, ...]
    mode: Mode = Mode.TUNNEL
    tunnel_will_do: bool = False
    dataplane: DataPlane = DataPlane.POLICY
    start: Start = Start.TRAP
    mtu: int | None = None
    mss: MssSetting = "auto"
    df: DfPolicy = DfPolicy.COPY
    oversize: Oversize = Oversize.ICMP
    replay_window: int = 128
    fail_closed: bool = True
    reqid: int = 0
    if_id: int = 0
    interface: str | None = None
    lifetime: Lifetime = UNLIMITED
    options: PlaneOptions = ORDINARY
    tunnel: Tunnel | None = None

    @property
    def protocol(self) -> ProtocolId:
        """ESP, or AH: that of its proposals."""
        return self.esp[0].protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionConfig:
    """One peer.

    ``local`` None means any local address; ``remote`` None any peer address, and then we only respond.
    ``remote_id`` None accepts any identity that knows the key, or of those that match ``remote_pattern`` where there
    is one. We prove ourselves with ``credential`` or else with ``psk``; of the peer we want a certificate that
    ``trust`` believes, a signature by one of ``remote_keys``, or else knowledge of ``psk``, or where there are many
    peers of its own one in ``psks``. ``sha1`` allows old peers to sign with it.
    ``dpd_s`` None means no liveness checks.
    ``rekey_s`` is the age at which an IKE SA gets new keys, ``reauth_s`` the age at which the peer must prove its
    identity again; None means never.
    ``fragment_size`` is the largest IP packet of IKE that we send where the peer can reassemble fragments (RFC 7383),
    None for no fragmentation.
    ``unique`` is about peers that come to us, one identity each.
    ``retry`` governs ``start: start`` children and whatever an operator brought up.
    ``mobike`` lets the IKE SA and its children survive a change of addresses (RFC 4555). ``roams`` is set where
    ``local`` is only what the routes to the peer say now; else ``alternates`` are further addresses of ours, in the
    order in which they take over.
    """

    name: str
    local: IPAddress | None
    remote: IPAddress | None
    local_id: Identity
    remote_id: Identity | None
    psk: bytes = field(repr=False)
    ike: tuple[Proposal, ...]
    children: tuple[ChildConfig, ...]
    dpd_s: float | None = 30.0
    rekey_s: float | None = None
    reauth_s: float | None = None
    keepalive_s: float = 20.0
    retry: RetryPolicy = RetryPolicy()
    retransmit: RetransmitPolicy = RetransmitPolicy()
    force_encap: bool = False
    remote_pattern: IdentityPattern | None = None
    credential: Credential | None = None
    trust: "TrustStore | None" = None
    remote_keys: tuple[RawKey, ...] = ()
    sha1: bool = False
    fragment_size: int | None = 1280
    childless: Childless = Childless.ALLOW
    mobike: bool = True
    roams: bool = False
    alternates: tuple[IPAddress, ...] = ()
    unique: Unique = Unique.NO
    psks: Mapping[Identity, bytes] = field(default_factory=dict, repr=False)

    def psk_of(self, peer: Identity | None) -> bytes:
        """The key that we share with this peer; empty without one. ``psk`` is for whoever has none in ``psks``."""
        return self.psks.get(peer, self.psk) if peer is not None else self.psk

    def child(self, name: str) -> ChildConfig | None:
        """The child of that name, or None."""
        return next((c for c in self.children if c.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Everything the engine is told. Connections stand in the order of the file, by name.

    From ``cookie_threshold`` half-open IKE SAs on, an initiator must return a cookie (RFC 7296 2.6); beyond
    ``half_open_limit`` in all, or ``half_open_per_source`` from one address, new ones are dropped. With
    ``qcd_secret`` we make tokens for quick crash detection (RFC 6290), the same ones after every start.
    """

    connections: dict[str, ConnectionConfig]
    ike_port: int = IKE_PORT
    nat_t_port: int = NAT_T_PORT
    half_open_limit: int = 1000
    half_open_per_source: int = 20
    cookie_threshold: int = 50
    half_open_timeout_s: float = 30.0
    retransmit: RetransmitPolicy = RetransmitPolicy()
    qcd_secret: bytes = field(default=b"", repr=False)
