"""Which keys a configuration has, of which kind, with which defaults, and what they are for.

The picture of DESIGN 4. A key that is not here is an error: what a newer version understands must not be
taken for understood by this one. What the docstrings say goes into the JSON schema and ``docs/configuration.md``
(``make docs-config``).
"""

from typing import Annotated, Literal

from pydantic import Field

from xfrmctl.config.directory import Directory
from xfrmctl.config.mapping import HalfOpen, Many, Port, Retransmissions, Section, Strict, Threshold
from xfrmctl.config.schema_child import DEFAULT_ESP, ESP_PROPOSALS, Child, ChildLifetime, ChildRekey
from xfrmctl.config.spelling import (
    Address,
    Echo,
    FilePath,
    Fragmentation,
    HostAddress,
    IkeIdentity,
    IkeProposal,
    Listen,
    Seconds,
    SecondsOrOff,
    Secret,
    Selector,
    Tries,
    proposal_of,
)
from xfrmctl.model.iana import ProtocolId

__all__ = (
    "Auth",
    "Child",
    "ChildLifetime",
    "ChildRekey",
    "Connection",
    "DEFAULT_ESP",
    "DEFAULT_IKE",
    "ESP_PROPOSALS",
    "File",
    "IKE_PROPOSALS",
    "MAX_NAME",
    "Retransmit",
    "Side",
)

DEFAULT_IKE = (
    "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha384-prfsha256-x25519-ecp256-ecp384-modp3072-modp2048",
    "aes256-aes128-sha384-sha256-x25519-ecp256-modp2048",
)
IKE_PROPOSALS = tuple(proposal_of(ProtocolId.IKE)(text) for text in DEFAULT_IKE)
MAX_NAME = 64


class Ports(Strict):
    """UDP ports of ours; anything but 500 and 4500 needs peers that know. Changes need a restart."""

    ike: Port = 500
    """Port of IKE (RFC 7296 2)."""
    nat_t: Port = 4500
    """Port of IKE and of ESP in UDP where a NAT is on the path (RFC 3948)."""


class Limits(Strict):
    """Bounds on what strangers can make us remember (RFC 7296 2.6)."""

    half_open: HalfOpen = 1000
    """IKE SAs that others have begun and not authenticated yet; more are dropped. Raise it for a large hub."""
    half_open_per_source: HalfOpen = 20
    """The same from one address. More where many peers come through one NAT and all start at once."""
    cookies_from: Threshold = 50
    """From this many half-open IKE SAs on, who begins one must return a cookie. 0: always."""
    half_open_timeout: Seconds = 30.0
    """How long an IKE SA may stay half-open. Longer for peers that are slow to sign."""


class Retransmit(Strict):
    """Retransmission of one IKE request (RFC 7296 2.4). By default a peer counts as silent after 136 s."""

    first: Seconds = 1.0
    """The first wait. Longer for paths with round trips of a second, such as over satellites."""
    factor: float = Field(default=1.8, ge=1.1, le=10)
    """How much longer each further wait is."""
    tries: Retransmissions = 7
    """How often a request is sent again. Fewer find a dead peer sooner, and take a short outage for one."""
    max: Seconds = 64.0
    """The longest wait."""


class PathMtu(Strict):
    """How the path MTU to a peer is found where ``mtu`` is ``auto``: by probes and errors of routers (RFC 8899)."""

    probe: bool = True
    """Whether paths are probed with padded IKE messages. ``false``: only ICMP errors and the links' MTUs count."""
    aging: SecondsOrOff = 600.0
    """Age at which a path below its link's MTU is probed upwards again (RFC 1191 6.3). ``off``: never."""
    confirm: SecondsOrOff = 5.0
    """How often the size is confirmed while traffic flows. ``off``: only when something looks wrong."""
    echo: Echo = "auto"
    """Whether ESP itself is asked where it does not go in UDP, by pings through the tunnel: an address behind the peer
    that answers them. ``auto``: one that a peer of ours tells. ``off``: only IKE's packets are asked."""


class Bypass(Strict):
    """One pair of selectors. It comes before everything else; ``policies`` is the finer tool."""

    local: Selector
    """Our side: where the packet comes from on its way out, where it goes to on its way in."""
    remote: Selector
    """The other side."""


IcmpPolicy = Literal["validate", "ignore", "trust"]


class Icmp(Strict):
    """ICMP errors about the path to a peer, by type (RFC 4301 6.1.1). Anybody can forge one.

    ``validate`` has the kernel learn only from those that quote a packet that we have really sent (it needs the extra
    ``guard``; where that is missing they are dropped). ``ignore`` drops them all. ``trust`` leaves the kernel as it is.
    """

    frag_needed: IcmpPolicy = "validate"
    """ICMP "fragmentation needed" of IPv4 (type 3, code 4)."""
    packet_too_big: IcmpPolicy = "validate"
    """ICMPv6 "packet too big" (type 2)."""


class Gateway(Strict):
    """Settings of this machine."""

    metrics: Listen = None
    """Where Prometheus finds ``/metrics``. It has no password: keep it on loopback. Changes need a restart."""
    status_page: Listen = None
    """Where a browser finds a page with tunnels, their last hour and the findings of `diagnose`, such as
    ``127.0.0.1:9880``. It has no password: keep it on loopback, and come by `ssh -L`. Changes need a restart."""
    metrics_compat: Literal["off", "ipsec_exporter"] = "off"
    """Names of another exporter beside ours, so that existing dashboards go on working: ``ipsec_exporter`` has those of
    github.com/sergeymakinen/ipsec_exporter for strongSwan. Changes need a restart."""
    metrics_exemplars: bool = False
    """Whether numbers in OpenMetrics name the IKE SA that moved them last, to find it in the log. Changes need a
    restart."""
    key_log: Directory | None = None
    """Directory for keys of IKE and ESP in Wireshark's format. It allows `xfrmctl debug NAME --keys`; none are written
    unless somebody asks for them. Whoever can read them can read the traffic."""
    bypass: tuple[Bypass, ...] = ()
    """Traffic that never enters a tunnel, in both directions, whatever the children say."""
    ports: Annotated[Ports, Section] = Field(default_factory=Ports)
    limits: Annotated[Limits, Section] = Field(default_factory=Limits)
    retransmit: Annotated[Retransmit, Section] = Field(default_factory=Retransmit)
    path_mtu: Annotated[PathMtu, Section] = Field(default_factory=PathMtu)
    control_group: str | None = Field(default=None, min_length=1)
    """Group of the system that may use the control socket; without it only root may. Changes need a restart."""
    crash_detection: bool = True
    """Whether peers get a token by which they believe, after a crash of ours, that their SAs are gone (RFC 6290)."""
    icmp: Annotated[Icmp, Section] = Field(default_factory=Icmp)
    firewall: Literal["auto", "iptables", "nftables"] = "auto"
    """Who clamps the MSS and guards against ICMP: iptables with ipset, or nftables by tables of ours, for which no
    program is needed. ``auto`` is iptables where both of its programs are installed. Only nftables knows the SPIs by
    which a true error is told from a flood of forged ones before it is judged. Changes need a restart."""


class Side(Strict):
    """The peer's end."""

    address: Address = None
    """The peer's address. ``any``: whoever brings the right proof, from wherever; we then only answer."""
    id: IkeIdentity = None
    """The identity that the peer must prove (RFC 7296 3.5), or a pattern with ``*``. Without the key: its address.

    With ``any``, or without both keys, any identity will do that the proof holds for.
    """


class LocalSide(Side):
    """Our end."""

    address: Address = None
    """Our address towards the peer. ``any``: the one that the route to the peer says, also when it changes (MOBIKE)."""
    id: IkeIdentity = None
    """Who we say we are. Without the key: the first name in our certificate, or else ``address``."""
    alternates: Annotated[tuple[HostAddress, ...], Many] = ()
    """Further addresses of ours, in the order in which they take over when a path falls silent (MOBIKE, RFC 4555)."""


class Auth(Strict):
    """How the two ends prove who they are (RFC 7296 2.15); each end may do it in its own way.

    We need ``psk``, or ``certificate`` and ``key``, or ``pubkey`` and ``key``. Of the peer we need ``ca``, or
    ``remote_pubkey``, or else it has to know the ``psk``. Paths start at the directory of the configuration file.
    """

    psk: Secret | None = None
    """Pre-shared key. Only its owner may read the file. A good one: `openssl rand -base64 32`."""
    psks: Annotated[dict[str, Secret], Section] = Field(default_factory=dict)
    """A pre-shared key for each of many peers, by identity, for connections without ``remote.address``."""
    certificate: FilePath | None = None
    """Our X.509 certificate, PEM or DER, ours first; intermediate ones in the same file are sent along."""
    key: FilePath | None = None
    """Our private key, to ``certificate`` or ``pubkey``: not encrypted, and readable by its owner only."""
    pubkey: FilePath | None = None
    """Our raw public key (RFC 7670), for peers without a CA."""
    remote_pubkey: Annotated[tuple[FilePath, ...], Many] = ()
    """Raw public keys of the peer, 10 at most: the one in use, and those before and after a change."""
    ca: Annotated[tuple[FilePath, ...], Many] = ()
    """CA certificates that the peer's certificate must lead to."""
    crl: Annotated[tuple[FilePath, ...], Many] = ()
    """Revocation lists of those CAs: files, or URLs that begin with ``http://``."""
    ocsp: Annotated[tuple[FilePath, ...], Many] = ()
    """OCSP responses (RFC 6960) in files, or URLs of responders."""
    fetch: bool = False
    """Whether revocation lists and OCSP responders that the peer's certificates name are asked over HTTP."""
    revocation: Literal["relaxed", "strict", "off"] = "relaxed"
    """What the lack of a statement means: ``relaxed`` accepts, ``strict`` refuses. ``off`` does not look."""
    rsa: Literal["auto", "pss", "pkcs1"] = "auto"
    """Padding of our RSA signatures (RFC 7427). ``auto``: PSS, and PKCS #1 v1.5 in answer to a peer that uses it."""
    sha1: bool = False
    """RSA with SHA-1 for an old peer, one without RFC 7427: its signatures are accepted, and ours are made so."""


class Ike(Strict):
    """The IKE SA."""

    proposals: Annotated[tuple[IkeProposal, ...], Many] = Field(default_factory=lambda: IKE_PROPOSALS)
    """IKE proposals (RFC 7296 3.3), the best first. Write your own to forbid something or to please an old peer."""
    dpd: SecondsOrOff = 30.0
    """After how long a silence the peer is asked whether it lives (RFC 7296 2.4)."""
    rekey: SecondsOrOff = 4 * 3600.0
    """Age at which the IKE SA gets new keys, up to a tenth earlier."""
    reauth: SecondsOrOff = None
    """Age at which identities are proved again, on a new IKE SA before the old one ends; wants ``remote.address``."""
    keepalive: Seconds = 20.0
    """How often a NAT in front of us hears from us (RFC 3948 2.3). Shorter for NATs that forget sooner."""
    encap: Literal["auto", "always"] = "auto"
    """ESP in UDP. ``always`` also without a NAT, for paths that drop ESP."""
    fragmentation: Fragmentation = 1280
    """Largest IP packet of IKE (RFC 7383). ``auto`` is 1280; less for paths that lose even those."""
    mobike: bool = True
    """Whether the IKE SA and its children survive a change of addresses on either side (RFC 4555)."""
    childless: Literal["allow", "force", "never"] = "allow"
    """IKE SAs without a first child (RFC 6023). ``force``: ours begin so; each child has its own key exchange."""
    retransmit: Annotated[Retransmit | None, Section] = None
    """As ``gateway.retransmit``, for this connection only. All its keys are then from here."""


class Retry(Strict):
    """What follows a failed negotiation, for children with ``start: start`` and for `xfrmctl up`."""

    tries: Tries = None
    """How often it is tried again."""
    first: Seconds = 2.0
    """The first wait; each further one is twice as long."""
    max: Seconds = 300.0
    """The longest wait."""


class Connection(Strict):
    """One peer; or, without ``remote.address``, everybody who brings the right proof, from wherever. NAME is yours."""

    local: Annotated[LocalSide, Section] = Field(default_factory=LocalSide)
    remote: Annotated[Side, Section] = Field(default_factory=Side)
    auth: Auth
    ike: Annotated[Ike, Section] = Field(default_factory=Ike)
    retry: Annotated[Retry, Section] = Field(default_factory=Retry)
    path_mtu: Annotated[PathMtu | None, Section] = None
    """As ``gateway.path_mtu``, for this connection only. All its keys are then from here."""
    unique: Literal["replace", "keep", "no"] | None = None
    """When an identity comes that has an IKE SA already: ``replace`` it, ``keep`` it, or ``no``: serve both.

    Without the key: ``replace`` where ``remote.address`` is ``any``, else ``no``.
    """
    children: dict[str, Child]
    """What goes through the tunnel, by name. At least one."""


class Policy(Strict):
    """Traffic that no SA is for: it passes in clear, or not at all, in both directions (RFC 4301 4.4.1)."""

    action: Literal["bypass", "discard"]
    """``bypass`` passes in clear, ``discard`` drops."""
    local_ts: Annotated[tuple[Selector, ...], Many]
    """Our side of the traffic."""
    remote_ts: Annotated[tuple[Selector, ...], Many]
    """The other side."""
    precedence: Literal["first", "specific", "last"] = "specific"
    """Its place among the children: the more specific selector first, or before or after all of them."""


class File(Strict):
    """A whole configuration file."""

    gateway: Annotated[Gateway, Section] = Field(default_factory=Gateway)
    policies: Annotated[dict[str, Policy], Section] = Field(default_factory=dict)
    """Traffic that passes in clear or not at all, by name."""
    connections: Annotated[dict[str, Connection], Section] = Field(default_factory=dict)
    """The peers, by name."""
