"""What every foreign daemon can be told and asked, whoever wrote it.

A :class:`PeerTunnel` says in our configuration's words what the daemon at the other end shall have; each daemon's
module spells it as that daemon wants it. What only one daemon can do stays in its own module.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from xfrmctl.lab.boot import repository
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.namespace import Namespace

KeyKind = Literal["rsa", "ecdsa", "ed25519"]

_START_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A certificate with its key and the CA that both ends trust, as PEM; ``name`` is unique among the tests."""

    name: str
    kind: KeyKind
    certificate: str
    key: str
    ca: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTunnel:
    """One IKE SA with one CHILD SA, as the peer shall have it; ``local`` is the peer's own side."""

    name: str
    local: str
    remote: str
    local_id: str
    remote_id: str
    #: Pre-shared key; with ``credentials`` both ends authenticate by certificate instead.
    psk: str
    credentials: Credentials | None = None
    #: Whether RSA keys sign by PSS: otherwise by PKCS #1 v1.5.
    pss: bool = True
    local_ts: Sequence[str]
    remote_ts: Sequence[str]
    #: Proposals as our configuration spells them.
    ike: str
    esp: str
    #: Pretend that there is a NAT.
    encap: bool = False
    #: Whether the peer shall begin by itself, where it cannot be asked to later.
    active: bool = False
    #: Seconds between liveness checks; 0 is off.
    dpd_s: int = 0
    #: Seconds after which the peer rekeys; None is its default. Only for daemons that cannot be asked to.
    ike_lifetime_s: int | None = None
    child_lifetime_s: int | None = None


class Peer(Protocol):
    """A foreign daemon in a namespace of the lab."""

    namespace: Namespace

    @property
    def version(self) -> str:
        """Its release, as in "4.10"."""

    @property
    def pid(self) -> int:
        """Its process."""

    def start(self) -> None:
        """Start it; it answers when this returns."""

    def stop(self) -> None:
        """End it orderly and forget its files."""

    def kill(self) -> None:
        """SIGKILL: a crash."""

    def tell(self, tunnel: PeerTunnel) -> None:
        """Have this tunnel and no other; nothing is negotiated yet unless it is ``active``."""

    def forget(self) -> None:
        """Have no tunnel; what was up is deleted."""

    def initiate(self) -> object:
        """Bring the tunnel up; LabError with the daemon's words where that fails."""

    def rekey_child(self) -> None:
        """Begin to rekey the CHILD SA."""

    def rekey_ike(self) -> None:
        """Begin to rekey the IKE SA."""

    def delete_child(self) -> None:
        """Delete the CHILD SA; the IKE SA stays."""

    def delete_ike(self) -> None:
        """Delete the IKE SA with its child."""

    def ike_sas(self) -> int:
        """How many IKE SAs are established."""

    def log_text(self) -> str:
        """All that it logged."""


def unpacked(package: str) -> Path:
    """Where ``tools/setup.sh test`` has unpacked a package of the distribution."""
    place = repository() / "build" / "peers" / package
    if not place.exists():
        raise LabError(f"{package} is not there; get it with: tools/setup.sh test")
    return place


def version_of(place: Path) -> str:
    """The release of an unpacked package, without the distribution's own numbering."""
    return (place / "version").read_text().strip().rpartition("-")[0]


def await_(holds: Callable[[], bool], what: Callable[[], str], timeout_s: float = _START_S) -> None:
    """Wait until it holds, or raise a LabError with ``what``."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise LabError(what())
        time.sleep(0.05)
