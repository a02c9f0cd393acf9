"""What the interop matrix consists of, as data: the tests, the document and its check are made from this.

A cell is one tunnel: authentication, key exchange, ciphers, address families, path, data plane, and who initiates.
An event is something that happens to a tunnel. What a peer cannot do stands in ``CANNOT`` with the reason, which was
found by trying it or in the peer's own documentation.
"""

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tests.lab.matrix import pairwise

PeerName = Literal["strongswan", "libreswan", "openiked"]
PEERS: dict[PeerName, str] = {
    "strongswan": "strongSwan (charon)",
    "libreswan": "libreswan (pluto)",
    "openiked": "OpenIKED (iked)",
}

#: The columns of a cell and their values; the words are those of the document.
COLUMNS: dict[str, dict[str, str]] = {
    "auth": {
        "psk": "pre-shared key",
        "rsa": "RSA, PKCS #1 v1.5",
        "pss": "RSA-PSS",
        "p256": "ECDSA P-256",
        "p384": "ECDSA P-384",
        "ed25519": "Ed25519",
    },
    "group": {
        "x25519": "X25519",
        "ecp256": "ECP-256",
        "ecp384": "ECP-384",
        "modp2048": "MODP-2048",
        "modp3072": "MODP-3072",
    },
    "ike": {"gcm": "IKE: AES-GCM", "cbc": "IKE: AES-CBC", "chacha": "IKE: ChaCha20-Poly1305"},
    "esp": {"gcm": "ESP: AES-GCM", "cbc": "ESP: AES-CBC", "chacha": "ESP: ChaCha20-Poly1305"},
    "family": {
        "4in4": "IPv4 in IPv4",
        "6in6": "IPv6 in IPv6",
        "6in4": "IPv6 in IPv4",
        "4in6": "IPv4 in IPv6",
    },
    "path": {
        "direct": "no NAT",
        "encap": "UDP encapsulation forced by us",
        "nat-us": "NAT box before us",
        "nat-peer": "NAT box before the peer",
    },
    "plane": {"policy": "our data plane: policies", "interface": "our data plane: xfrm interface"},
    "initiator": {"ours": "we initiate", "peer": "the peer initiates"},
}

IKE = {"gcm": "aes256gcm16-prfsha384", "cbc": "aes256-sha256", "chacha": "chacha20poly1305-prfsha512"}
ESP = {"gcm": "aes256gcm16", "cbc": "aes256-sha512", "chacha": "chacha20poly1305"}

#: What happens to a tunnel, and how the document calls it. ``{by}`` is who does it.
EVENTS = {
    "rekey-child": "CHILD SA rekeyed under traffic by {by}",
    "rekey-ike": "IKE SA rekeyed under traffic by {by}",
    "delete-child": "CHILD SA deleted by {by}",
    "delete-ike": "IKE SA deleted by {by}",
    "fragments": "large certificates over a path of 576 bytes",
    "kill": "the peer's daemon killed (kill -9): noticed by dead peer detection, up again after its restart",
}
#: Those that either end can begin; the others happen once for each initiator.
BY_EITHER = ("rekey-child", "rekey-ike", "delete-child", "delete-ike")


@dataclass(frozen=True, slots=True)
class Cannot:
    """What a peer cannot do: all cells or events with these values, and why."""

    values: Mapping[str, str]
    why: str

    def covers(self, row: Mapping[str, str]) -> bool:
        """Whether a cell, an event, or a part of one falls under this."""
        return all(row.get(name) == value for name, value in self.values.items())


#: Not the peer's fault: it cannot be done with anybody.
NOBODY = (
    Cannot({"path": "nat-us", "initiator": "peer"}, "who is behind a NAT box cannot be reached before it has sent"),
    Cannot({"path": "nat-peer", "initiator": "ours"}, "who is behind a NAT box cannot be reached before it has sent"),
)
_ONE_FAMILY = "on Linux it sets SAs by PF_KEY, which has the outer family's packets inside only (net/key/af_key.c)"
CANNOT: dict[PeerName, tuple[Cannot, ...]] = {
    "strongswan": (),
    "libreswan": (
        Cannot(
            {"auth": "ed25519"}, "its NSS library does not import Ed25519 keys (SEC_ERROR_PKCS12_UNABLE_TO_IMPORT_KEY)"
        ),
    ),
    "openiked": (
        Cannot({"ike": "chacha"}, "it has ChaCha20-Poly1305 for ESP only (iked.conf(5), crypto transforms)"),
        Cannot({"esp": "gcm"}, "on Linux it sets SAs by PF_KEY, which has no AEAD"),
        Cannot({"esp": "chacha"}, "on Linux it sets SAs by PF_KEY, which has no AEAD"),
        Cannot({"family": "6in4"}, _ONE_FAMILY),
        Cannot({"family": "4in6"}, _ONE_FAMILY),
        Cannot({"auth": "ed25519"}, "it ends at an Ed25519 key (ca_privkey_serialize: unsupported key type)"),
        Cannot({"event": "delete-child", "by": "peer"}, "ikectl(8) has no command that deletes a CHILD SA"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One tunnel of the matrix."""

    auth: str
    group: str
    ike: str
    esp: str
    family: str
    path: str
    plane: str
    initiator: str

    @property
    def id(self) -> str:
        """Its values, joined: unique, and the test's id."""
        return "-".join(getattr(self, name) for name in COLUMNS)

    @property
    def inner(self) -> int:
        """IP version inside the tunnel."""
        return int(self.family[0])

    @property
    def outer(self) -> int:
        """IP version between the gateways."""
        return int(self.family[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happens to a tunnel: what, by whom, and who had initiated the tunnel."""

    event: str
    initiator: str
    by: str = ""

    @property
    def id(self) -> str:
        """Unique, and the test's id."""
        return "-".join(filter(None, (self.event, self.by and f"by-{self.by}", f"{self.initiator}-initiated")))


def reason(peer: PeerName, row: Mapping[str, str]) -> str | None:
    """Why this cannot be with this peer; None where it can."""
    return next((cannot.why for cannot in (*NOBODY, *CANNOT[peer]) if cannot.covers(row)), None)


#: Names a file with the ids of cells, one a line: they are tried instead of the chosen ones.
SELECTED = "XFRMCTL_INTEROP_CELLS"


@functools.cache
def chosen(peer: PeerName) -> tuple[Cell, ...]:
    """The cells of every test run: each two values that can stand together do so in one of them."""
    columns = {name: list(values) for name, values in COLUMNS.items()}
    found = [Cell(**row) for row in pairwise.rows(columns, lambda row: reason(peer, row) is None)]
    return tuple(sorted(found, key=lambda cell: list(COLUMNS["path"]).index(cell.path)))


def every(peer: PeerName) -> list[Cell]:
    """All cells that this peer can do: the full cross product."""
    rows = (dict(zip(COLUMNS, values, strict=True)) for values in itertools.product(*COLUMNS.values()))
    found = [Cell(**row) for row in rows if reason(peer, row) is None]
    return sorted(found, key=lambda cell: list(COLUMNS["path"]).index(cell.path))


def all_events() -> list[Event]:
    """Every event, whoever the peer is."""
    ends = tuple(COLUMNS["initiator"])
    return [
        Event(event=event, initiator=initiator, by=by)
        for event in EVENTS
        for initiator in ends
        for by in (ends if event in BY_EITHER else ("",))
    ]


def events(peer: PeerName) -> list[Event]:
    """The events of every test run with this peer."""
    return [e for e in all_events() if reason(peer, {"event": e.event, "initiator": e.initiator, "by": e.by}) is None]
