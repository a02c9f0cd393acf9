"""Choosing: proposals (RFC 7296 3.3.6) and children by their traffic selectors (2.9). Pure functions.

Preference is ours: the responder walks its own configured proposals and alternatives in order. One exception
saves a round trip: among key exchange methods that both accept, the one whose KE payload is already here wins.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xfrmctl.ike.config import ChildConfig
from xfrmctl.model.algorithms import ENCR
from xfrmctl.model.iana import Encr, Esn, Integ, KeGroup, Prf, ProtocolId, TransformType
from xfrmctl.model.selector import TrafficSelector, narrow
from xfrmctl.model.suite import Proposal, Suite, Transform


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen; ``number`` and ``spi`` are those of the peer's proposal."""

    suite: Suite
    number: int
    spi: bytes


def choose(ours: Iterable[Proposal], offered: Sequence[Proposal], ke_present: KeGroup | None = None) -> Choice | None:
    """The first of our proposals that one of the offered ones can satisfy, or None.

    ``ke_present`` is the method of the KE payload that came with the offer.
    """
    for mine in ours:
        for theirs in offered:
            if theirs.protocol != mine.protocol:
                continue
            suite = match(mine, theirs, ke_present)
            if suite is not None:
                return Choice(suite, theirs.number, theirs.spi)
    return None


def match(mine: Proposal, theirs: Proposal, ke_present: KeGroup | None = None) -> Suite | None:
    """One transform of each type from both, by my order; None where a type has nothing in common."""
    mine_by, theirs_by = _by_type(mine), _by_type(theirs)
    if not theirs_by.keys() <= _UNDERSTOOD:
        return None
    encr = _NO_CIPHER if mine.protocol == ProtocolId.AH else _first(mine_by, theirs_by, TransformType.ENCR)
    if encr is None or (encr is _NO_CIPHER and TransformType.ENCR in theirs_by):
        return None
    integ = _first(mine_by, theirs_by, TransformType.INTEG)
    prf = _first(mine_by, theirs_by, TransformType.PRF)
    ke = _first(mine_by, theirs_by, TransformType.KE, ke_present)
    cipher = Encr(encr.id)
    facts = ENCR[cipher]
    if not facts.is_aead and integ is None:
        return None
    if facts.is_aead and not _absent_or_none(theirs_by, TransformType.INTEG):
        return None
    if mine.protocol == ProtocolId.IKE and (prf is None or ke is None):
        return None
    if ke is None and not (_absent_or_none(mine_by, TransformType.KE) and _absent_or_none(theirs_by, TransformType.KE)):
        return None
    esn = False if mine.protocol == ProtocolId.IKE else _esn(mine_by, theirs_by)
    if esn is None:
        return None
    return Suite(
        mine.protocol,
        cipher,
        encr.key_bits or facts.default_key_bits,
        integ=Integ(integ.id) if integ is not None else None,
        prf=Prf(prf.id) if prf is not None else None,
        ke=KeGroup(ke.id) if ke is not None and ke.id else None,
        esn=esn,
    )


_NO_CIPHER = Transform(TransformType.ENCR, Encr.NULL)
"""What stands for the cipher of AH, which has none."""

_UNDERSTOOD = frozenset(
    {TransformType.ENCR, TransformType.PRF, TransformType.INTEG, TransformType.KE, TransformType.ESN}
)

ByType = dict[TransformType, list[Transform]]


def _by_type(proposal: Proposal) -> ByType:
    found: ByType = {}
    for transform in proposal.transforms:
        found.setdefault(transform.type, []).append(transform)
    return found


def _first(mine: ByType, theirs: ByType, kind: TransformType, preferred: KeGroup | None = None) -> Transform | None:
    ours, offered = mine.get(kind), theirs.get(kind)
    if not ours or not offered:
        return None
    understood = [(t.id, t.key_bits) for t in offered if not t.malformed]
    common = [t for t in ours if (t.id, t.key_bits) in understood]
    for transform in common:
        if preferred is not None and transform.id == preferred:
            return transform
    return common[0] if common else None


def _absent_or_none(transforms: ByType, kind: TransformType) -> bool:
    found = transforms.get(kind)
    return not found or any(t.id == 0 for t in found)


def _esn(mine: ByType, theirs: ByType) -> bool | None:
    """Whether ESN is used, None without agreement. Absence means none (RFC 7296 3.3.3 has it mandatory in ESP)."""
    offered = [t.id for t in theirs.get(TransformType.ESN, ())] or [int(Esn.NO)]
    wanted = [t.id for t in mine.get(TransformType.ESN, ())] or [int(Esn.NO)]
    for number in wanted:
        if number in offered:
            return number == Esn.YES
    return None


def accepted(ours: Iterable[Proposal], answer: Sequence[Proposal]) -> Choice | None:
    """The initiator's check of an answer: one proposal, each transform one of ours (RFC 7296 2.7, 3.3.6)."""
    if len(answer) != 1:
        return None
    kinds = [t.type for t in answer[0].transforms]
    if len(kinds) != len(set(kinds)):
        return None
    return choose(ours, answer)


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A child of ours and what of its selectors the peer's request allows."""

    child: ChildConfig
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]


def narrow_children(
    children: Iterable[ChildConfig],
    their_local: Sequence[TrafficSelector],
    their_remote: Sequence[TrafficSelector],
) -> list[Narrowed]:
    """Children whose selectors meet the request.

    First those that take the peer's first selectors whole, for these may be of the packet that it wants to send (RFC
    7296 2.9); among equals those that keep all of their own selectors. ``their_local`` are selectors of the *peer's*
    side (TSi of its request), ``their_remote`` of ours (TSr).
    """
    found = []
    for child in children:
        local_ts = narrow(their_remote, child.local_ts)
        remote_ts = narrow(their_local, child.remote_ts)
        if local_ts and remote_ts:
            found.append(Narrowed(child, local_ts, remote_ts))

    def order(n: Narrowed) -> tuple[bool, bool]:
        first = covered(their_remote[:1], n.local_ts) and covered(their_local[:1], n.remote_ts)
        whole = covered(n.child.local_ts, n.local_ts) and covered(n.child.remote_ts, n.remote_ts)
        return not first, not whole

    found.sort(key=order)
    return found


def covered(inner: Iterable[TrafficSelector], outer: Sequence[TrafficSelector]) -> bool:
    """Whether each of ``inner`` lies in one of ``outer``."""
    return all(any(o.covers(i) for o in outer) for i in inner)
