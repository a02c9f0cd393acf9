"""Quick crash detection (RFC 6290): a peer that has lost an IKE SA proves it, and the other end need not wait.

Both ends are makers and takers of tokens. A token is given inside the IKE SA that it can end: in IKE_AUTH, in the
answer to a rekey of the IKE SA, and by INFORMATIONAL on the new IKE SA by whoever began the rekey (4.2, 4.3). After a
crash the maker gets a request for an IKE SA that it does not know, and presents the token unprotected (4.5)::

    HDR, N(INVALID_IKE_SPI), N(QCD_TOKEN)

The one thing that must never happen is to present the token of an IKE SA that lives, or will in a moment. So neither
SPI may be one of ours or one that we have offered for a new IKE SA, whichever side the request claims to be from.
"""

from collections.abc import Sequence

from xfrmctl.crypto.qcd import TOKEN_RANGE, qcd_token, same_token
from xfrmctl.ike import lifecycle, path_failures
from xfrmctl.ike.core import Core
from xfrmctl.ike.sa import IkeSa
from xfrmctl.model.iana import NotifyType
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import Message, notify_of
from xfrmctl.wire.payloads import Notify, Payload

MAX_TOKENS = 4
"""Tokens in one message that are looked at (RFC 6290 4.5 lets a maker send several)."""


def notices(core: Core, spi_i: bytes, spi_r: bytes) -> list[Payload]:
    """N(QCD_TOKEN) of ours for an IKE SA, to be said inside it; nothing where we make none."""
    secret = core.config.qcd_secret
    return [Notify(NotifyType.QCD_TOKEN, qcd_token(secret, spi_i, spi_r))] if secret else []


def learn(sa: IkeSa, payloads: Sequence[Payload]) -> None:
    """Remember the token that the authenticated peer gives for this IKE SA."""
    given = notify_of(payloads, NotifyType.QCD_TOKEN)
    if given is not None and len(given.data) in TOKEN_RANGE:
        sa.qcd_token = given.data


def proof_of_loss(core: Core, header: Header) -> list[Payload]:
    """What shows the sender of a protected request that its IKE SA is lost here; nothing if that could be untrue."""
    spis = (header.spi_i, header.spi_r)
    if any(spi in core.by_spi for spi in spis) or any(sa.offered_spi in spis for sa in core.sas.values()):
        return []
    return notices(core, header.spi_i, header.spi_r)


def presented(core: Core, sa: IkeSa, message: Message) -> bool:
    """An unprotected message about an IKE SA of ours: whether it carries the peer's token, and so has ended it."""
    tokens = [p.data for p in message.payloads if isinstance(p, Notify) and p.type == NotifyType.QCD_TOKEN]
    if not tokens or notify_of(message.payloads, NotifyType.INVALID_IKE_SPI) is None:
        return False
    if not sa.qcd_token or len(tokens) > MAX_TOKENS or not any(same_token(sa.qcd_token, t) for t in tokens):
        core.drop(sa.remote, "qcd_token")
        return True
    _lost(core, sa)
    return True


def _lost(core: Core, sa: IkeSa) -> None:
    """The peer has lost the IKE SA: so have we, and what should be up is tried again at once."""
    state = core.connections.get(sa.connection)
    if state is not None:
        state.retry_at = core.now  # not after a back-off: the peer is there
        lifecycle.kick(core, sa.connection)
    lifecycle.close(core, sa, path_failures.peer_restarted(sa.remote))
