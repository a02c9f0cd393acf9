"""Revocation data that has to be fetched before a peer is believed: who waits for which request.

An IKE SA waits with its exchange unanswered; the peer retransmits meanwhile, which is harmless. What is fetched serves
all that wait for it and, until it ends, all that come later. Every request is answered, by data or by a failure, for
the edge bounds its time; an IKE SA that has gone meanwhile is not missed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xfrmctl.crypto.ocsp import NONCE_LEN
from xfrmctl.crypto.revocation import Evidence, Source
from xfrmctl.ike.sa import IkeSa
from xfrmctl.model.effects import FetchUrl, Token

if TYPE_CHECKING:
    from xfrmctl.ike.core import Core

MAX_UNDER_WAY = 64
"""Requests at a time; more fail at once, and are tried again by a later handshake."""


@dataclass(frozen=True, slots=True)
class _Request:
    source: Source
    nonce: bytes


@dataclass(slots=True)
class _Waiting:
    serial: int
    tokens: set[Token]
    resume: Callable[[], None]


class Fetching:
    """Requests under way; ``evidence`` is what they have brought."""

    def __init__(self) -> None:
        self.evidence = Evidence()
        self._under_way: dict[Token, _Request] = {}
        self._waiting: list[_Waiting] = []

    def want(self, core: "Core", sa: IkeSa, sources: Sequence[Source], resume: Callable[[], None]) -> None:
        """Ask these sources, then call ``resume`` if the IKE SA is still there. Until then it takes no request."""
        sa.answering = True
        tokens = {token for s in sources if (token := self._ask(core, s)) is not None}
        if not tokens:
            resume()
            return
        self._waiting.append(_Waiting(sa.serial, tokens, resume))

    def _ask(self, core: "Core", source: Source) -> Token | None:
        for token, request in self._under_way.items():
            if request.source == source:
                return token
        if len(self._under_way) >= MAX_UNDER_WAY:
            self.evidence.fail(source, f"{source.url} was not asked: too much is being asked already", core.now)
            return None
        nonce = core.entropy(NONCE_LEN)
        token = core.new_token()
        self._under_way[token] = _Request(source, nonce)
        core.emit(FetchUrl(token, source.url, source.request(nonce), source.limit))
        return token

    def done(self, core: "Core", token: Token, data: bytes | None, problem: str) -> list[IkeSa]:
        """A request has been answered, or has failed for this reason; the IKE SAs that have gone on."""
        request = self._under_way.pop(token)
        if data is not None:
            self.evidence.learn(request.source, data, request.nonce, core.now)
        else:
            self.evidence.fail(request.source, problem, core.now)
        for waiting in self._waiting:
            waiting.tokens.discard(token)
        ready = [w for w in self._waiting if not w.tokens]
        self._waiting = [w for w in self._waiting if w.tokens]
        resumed: list[IkeSa] = []
        for waiting in ready:
            sa = core.sas.get(waiting.serial)
            if sa is not None:
                waiting.resume()
                resumed.append(sa)
        return resumed
