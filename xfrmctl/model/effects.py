"""What the IKE engine wants done. An effect must happen; one that can fail carries a token.

The answer to a token is the engine's input ``handle_done(token, refusal, now)``, to that of a FetchUrl
``handle_fetched(token, data, problem, now)``.
"""

from dataclasses import dataclass

from xfrmctl.model.address import Endpoint, IPAddress
from xfrmctl.model.path import ProbeOutcome
from xfrmctl.model.sa import KernelSa, SaId, SaKeys, SaMove

Token = int


class Effect:
    """Something that must be done by the edge."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SendDatagram(Effect):
    """Send one UDP payload as it is (a non-ESP marker is part of it where RFC 3948 wants one).

    With ``probe`` the packet must not be fragmented, neither here nor on the way, whatever the kernel believes of the
    path; where it cannot be sent so, the IKE engine is told by ``probes.not_sent(probe, now)``.
    """

    local: Endpoint
    remote: Endpoint
    data: bytes
    probe: Token | None = None


@dataclass(frozen=True, slots=True)
class ReportProbe(Effect):
    """What became of a probe of ``size`` bytes, outer IP header included: an input of the path-MTU engine."""

    token: Token
    outcome: ProbeOutcome
    size: int


@dataclass(frozen=True, slots=True)
class PeerAsks(Effect):
    """The peer, one of ours, has reason to doubt the path from us to it: an input of the path-MTU engine.

    ``mtu`` is what it takes the path from itself to us to carry, 0 where it did not say. ``doubts`` asks us to look.
    ``inside`` is an address of its own inside of the tunnel, None where it did not say.
    """

    ike: str
    mtu: int
    doubts: bool
    inside: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class InstallSas(Effect):
    """Put SAs into the kernel, all or none; answered by Done(token)."""

    token: Token
    sas: tuple[tuple[KernelSa, SaKeys], ...]


@dataclass(frozen=True, slots=True)
class MoveSas(Effect):
    """The path of SAs has changed: change addresses and ports, keep sequence numbers and replay windows.

    What cannot be had is reported; an SA that is gone is no failure.
    """

    moves: tuple[SaMove, ...]


@dataclass(frozen=True, slots=True)
class FindPaths(Effect):
    """Ask the routes for each pair of (our address, the peer's); answered by the input ``handle_paths``.

    With None for our address, it is the one that the kernel would choose. ``serial`` names the IKE SA that asks, None
    means all of them.
    """

    pairs: tuple[tuple[IPAddress | None, IPAddress], ...]
    serial: int | None = None


@dataclass(frozen=True, slots=True)
class FetchUrl(Effect):
    """Ask a web server; answered by Fetched(token), for it may take no longer than ``timeout_s``.

    ``body`` is an OCSP request to POST, empty for a GET. An answer of more than ``limit`` octets is a failure.
    """

    token: Token
    url: str
    body: bytes
    limit: int
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class DeleteSas(Effect):
    """Take SAs out of the kernel; one that is gone already is no failure."""

    ids: tuple[SaId, ...]
