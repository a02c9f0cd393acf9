"""What all dialects are read into: tunnels as daemons understand them, before they are ours.

Values are what the other daemon makes of its files, its defaults filled in; each carries the setting it comes from, or
none for a default. Identities, proposals and selectors are spelled as ours are, for words are a dialect's business.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from xfrmctl.importers.origin import Place, Setting, Told

Start = Literal["none", "trap", "start"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Proposals in our words, the best first; ``lost`` is what of theirs we cannot offer, with the reason."""

    proposals: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Psk:
    """A pre-shared key and whose it is, as our identities; without any it is everybody's."""

    owners: tuple[str, ...]
    key: bytes = field(repr=False)
    setting: Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A certificate or key: ``name`` is what the file was called, ``content`` PEM or DER; None where it was not found.

    ``export`` says how the user gets it where it lies in a database.
    """

    name: str
    content: bytes | None = field(repr=False)
    export: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How one end proves itself.

    ``id`` is as ours is spelled; None is the default, "any" is anybody. ``private`` says how to get the private key,
    where it lies in a database.
    """

    method: Told[str] = Told("pubkey")  # psk, pubkey; whatever else there is cannot be had here
    id: Told[str | None] = Told(None)
    certificates: Told[tuple[Blob, ...]] = Told(())
    keys: Told[tuple[Blob, ...]] = Told(())
    cas: Told[tuple[Blob, ...]] = Told(())
    revocation: Told[str] = Told("relaxed")
    padding: Told[str] = Told("")
    private: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """When something gets new keys and when it ends; seconds, bytes or packets; 0 is never.

    ``earliest`` is where the random time before ``rekey`` begins.
    """

    rekey: Told[int] = Told(0)
    hard: Told[int] = Told(0)
    earliest: Told[int] | None = None


@dataclass(slots=True, kw_only=True)
class Child:
    """One CHILD SA, or traffic that goes around them (``mode`` pass and drop)."""

    name: str
    mode: Told[str] = Told("tunnel")
    local_ts: Told[tuple[str, ...]] = Told(("dynamic",))
    remote_ts: Told[tuple[str, ...]] = Told(("dynamic",))
    esp: Told[Offer] = Told(Offer())
    ah: Told[Offer] | None = None
    time: Lifetime = field(default_factory=Lifetime)
    bytes: Lifetime = field(default_factory=Lifetime)
    packets: Lifetime = field(default_factory=Lifetime)
    start: Told[Start] = Told("none")
    on_close: Told[Start] = Told("none")
    on_dead: Told[Start] = Told("none")
    marks: dict[str, Told[str]] = field(default_factory=dict)  # mark.inbound, set_mark.outbound …
    if_id: Told[int] | None = None
    interface: Told[str] | None = None
    replay_window: Told[int] = Told(32)
    offload: Told[str] = Told("no")
    df: Told[str] = Told("copy")
    ecn: Told[bool] = Told(True)
    dscp: Told[tuple[str, str]] = Told(("copy", "keep"))
    mtu: Told[int] | None = None


@dataclass(slots=True, kw_only=True)
class Connection:
    """One peer; ``settings`` are all that belong to it. ``hurdle`` is why it cannot be taken over, with the cure."""

    name: str
    place: Place
    settings: Sequence[Setting] = ()
    hurdle: tuple[Setting | None, str, str] | None = None
    local_addresses: Told[tuple[str, ...]] = Told(("any",))
    remote_addresses: Told[tuple[str, ...]] = Told(("any",))
    local: Proof = field(default_factory=Proof)
    remote: Proof = field(default_factory=Proof)
    psks: Sequence[Psk] = ()
    crls: Sequence[Told[str | Blob]] = ()
    ocsps: Sequence[Told[str]] = ()
    private_keys: Callable[[], Sequence[Blob]] = tuple
    fetches: bool = False
    ike: Told[Offer] = Told(Offer())
    time: Lifetime = field(default_factory=Lifetime)
    reauth: Told[int] = Told(0)
    dpd_s: Told[int] = Told(0)
    keepalive_s: Told[int] = Told(20)
    encap: Told[str] = Told("auto")
    mobike: Told[bool] = Told(True)
    fragmentation: Told[str] = Told("auto")
    childless: Told[str] = Told("allow")
    unique: Told[str] = Told("no")
    tries: Told[int] = Told(1)
    retransmit: Told[tuple[int, int]] | None = None  # first wait in ms, all of it in seconds
    children: list[Child] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    """All that was read, and every setting that stands in the files."""

    product: str
    connections: list[Connection] = field(default_factory=list)
    settings: Sequence[Setting] = ()
