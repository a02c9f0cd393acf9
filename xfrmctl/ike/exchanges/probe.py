"""Probes of the path's MTU: a request of exactly the size in question, which nobody may fragment.

    HDR, SK { N(XFRMCTL_PATH_MTU) }  -->
                                     <--  HDR, SK { [N(XFRMCTL_PATH_MTU)] }

The notify is a status of private use, which whoever does not know it ignores (RFC 7296 3.10.1); its data fill the
message up. Authenticity comes with the exchange: only the peer can answer. The carrier is IKE's own: with UDP
encapsulation its packets go the way of ESP's, port for port; without it they are UDP where ESP is protocol 50.

A request may not be abandoned (RFC 7296 2.1), and the next ones wait for it. So the first copy goes whole, and when
its answer is late small ones follow. That keeps the IKE SA alive whatever the path does, and it tells a path that is
too narrow from one that is dead:

================================== ==========================================================
answered in time                   the size passes
late, but every copy is answered   the size passes: peer or path were slow
some copies are answered           the whole copy was lost
not, and no small copy either      nothing passes, or the peer does not answer such messages
================================== ==========================================================

Three forms of small copies, tried in turn, the one that got through the last time first, since each has its enemies:

* the same bytes in a packet that may be fragmented: routers and firewalls there are that lose IP fragments;
* IKE's own fragments (RFC 7383 2.5.2), with our own gateways at once: charon with its mediation extension (Debian's)
  takes a fragment of an INFORMATIONAL exchange for a message in clear, and drops it;
* where neither gets through, a shorter message with the same message id. RFC 7296 2.1 wants each repetition of a
  request to be the same bytes; we deviate before we let an IKE SA die over a probe. Nothing of the first copy has
  arrived then, or the peer answers the repetition as it has answered the first, by its message id.

Between two gateways of ours the notify says more: behind the mark, what the sender takes its own direction to carry,
and whether it has reason to doubt the other one. So each end knows both directions, and may ask the other one to look.
It also says an address of the sender's inside of the tunnel, which answers echoes.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address
from struct import Struct

from xfrmctl.ike.core import Core
from xfrmctl.ike.fragments import packet_size
from xfrmctl.ike.sa import IkeSa, Outstanding, Probing, Sealed, Small
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.timers import Timer
from xfrmctl.ike.transport import begin, names, policy, small, track, whole
from xfrmctl.ike.transport import retransmit as send_small_copy
from xfrmctl.model.address import IPAddress
from xfrmctl.model.effects import PeerAsks, ReportProbe
from xfrmctl.model.iana import ExchangeType, NotifyType
from xfrmctl.model.path import ProbeOutcome
from xfrmctl.wire.message import notify_of
from xfrmctl.wire.payloads import Notify, Payload

MARK = b"xfrmctl path mtu"
"""What makes a status of private use ours: others may use the same number for something else."""

IS_PROBE = f"N({NotifyType.XFRMCTL_PATH_MTU.name})"
"""What a log and an event call its payload."""

LEAST_PATIENCE_S, MOST_PATIENCE_S = 0.05, 3.0
"""Bounds of the wait for the answer to a whole copy: about four round trips between them.

Short is harmless: on a path that is slower both copies are answered.
"""

SECOND_ANSWER_S = 0.05
"""How long after an answer to the small copy one may still come, beside the time that was between the copies.

If both get through, their answers are as far apart as they were; less would take any path for narrow that has become
slow just now, as under a bulk transfer.
"""

_TAIL = Struct(">HB")
"""The sender's own figure, bytes (0: none), and flags; behind them the address that a flag announces."""

_DOUBTS, _INSIDE_4, _INSIDE_6 = 1, 2, 4
_NOTIFY_HEAD = 8


@dataclass(slots=True)
class Probe:
    """One probe. It puts itself on the wire: a message of its own size, outside of fragmentation."""

    token: int
    size: int
    mtu: int
    doubts: bool
    inside: IPAddress | None = None
    exchange: ExchangeType = ExchangeType.INFORMATIONAL
    _whole: Sealed | None = field(default=None, repr=False)

    def build(self, core: Core, sa: IkeSa) -> list[Payload] | None:
        """Send the whole copy; nothing is left for others to send."""
        if sa.probing is None or sa.probing.token != self.token:
            return None
        if sa.state != IkeState.ESTABLISHED:
            core.end_probe(sa, ProbeOutcome.UNAVAILABLE)
            return None
        payloads: list[Payload] = [_notify(self.mtu, self.doubts, _room(core, sa, self.size), self.inside)]
        message = whole(core, sa, self.exchange, payloads, sa.next_id)
        sa.probing.message_id, sa.probing.size = sa.next_id, _outer(core, sa, message.size)
        sa.probing.forms = _forms(sa)
        patience = min(MOST_PATIENCE_S, max(LEAST_PATIENCE_S, sa.rtt.patience(_four_round_trips(core, sa))))
        sa.probing.patience_s = patience
        track(
            core,
            sa,
            Outstanding(
                self.exchange,
                sa.next_id,
                message,
                names(payloads),
                self,
                before=1 + len(sa.probing.forms),
                probe=self.token,
                patience_s=patience,
                shrink=self._shrink,
            ),
        )
        return None

    def _shrink(self, core: Core, sa: IkeSa, outstanding: Outstanding) -> Sealed:
        """The next small copy."""
        assert sa.probing is not None
        form = sa.probing.forms[(outstanding.attempts - 2) % len(sa.probing.forms)]
        if self._whole is None:
            self._whole = outstanding.message
        if form == Small.IKE_FRAGMENTS:
            return small(core, sa, self._whole)
        if form == Small.SHORTER:
            shorter: list[Payload] = [_notify(self.mtu, self.doubts, 0, self.inside)]
            return whole(core, sa, self.exchange, shorter, outstanding.message_id)
        return self._whole

    def on_response(self, core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """The first answer: to the whole copy, unless a small one has gone out meanwhile."""
        probing = sa.probing
        assert probing is not None
        sa.probed = True
        _heed(core, sa, payloads)
        if any(isinstance(p, Notify) and p.type.is_error for p in payloads):
            core.end_probe(sa, ProbeOutcome.UNSUPPORTED)
        elif probing.copies == 1:
            core.end_probe(sa, ProbeOutcome.ANSWERED)
        elif probing.too_big:
            core.end_probe(sa, ProbeOutcome.TOO_BIG)
        elif probing.copies > 1 + len(probing.forms):
            core.end_probe(sa, ProbeOutcome.SILENT)  # small copies were lost, too: the path is in no state to tell
        else:
            sa.small = probing.forms[probing.copies - 2]
            probing.answers = 1
            _await_another(core, sa)


def awaits_another(sa: IkeSa, message_id: int) -> bool:
    """Whether another answer with this message id may be the one to the whole copy of a probe."""
    probing = sa.probing
    return probing is not None and probing.message_id == message_id and probing.copies > 1


def another_answer(core: Core, sa: IkeSa) -> None:
    """One more copy has arrived; when all have, the whole one is among them."""
    probing = sa.probing
    assert probing is not None
    probing.answers += 1
    if probing.answers == probing.copies:
        core.end_probe(sa, ProbeOutcome.ANSWERED)
    else:
        _await_another(core, sa)


def _await_another(core: Core, sa: IkeSa) -> None:
    assert sa.probing is not None
    core.timers.set(sa.serial, Timer.PROBE, core.now + sa.probing.patience_s + SECOND_ANSWER_S)


def no_more_answers(core: Core, sa: IkeSa) -> None:
    """Fewer answers have come than copies were sent."""
    if sa.probing is not None and sa.probing.copies:
        sa.rtt.took(sa.probing.took_s)
        core.end_probe(sa, ProbeOutcome.LOST)


def answer(core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> list[Payload]:
    """What a request that may be a probe of one of ours is answered with beside the rest."""
    if not _heed(core, sa, payloads):
        return []
    return [_notify(sa.own_mtu, False, 0, sa.own_inside)]


def _heed(core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> bool:
    """Read what a gateway of ours says in its notify; False where there is none."""
    notify = notify_of(payloads, NotifyType.XFRMCTL_PATH_MTU)
    if notify is None or notify.data[: len(MARK)] != MARK or len(notify.data) < len(MARK) + _TAIL.size:
        return False
    sa.is_ours = True
    mtu, flags = _TAIL.unpack_from(notify.data, len(MARK))
    rest = notify.data[len(MARK) + _TAIL.size :]
    core.emit(PeerAsks(sa.name, mtu, bool(flags & _DOUBTS), _address(flags, rest)))
    return True


def _address(flags: int, data: bytes) -> IPAddress | None:
    """What the flags announce; None where it is cut short, or can be nobody's."""
    size = 4 if flags & _INSIDE_4 else 16 if flags & _INSIDE_6 else 0
    if not size or len(data) < size:
        return None
    found = ip_address(data[:size])
    return None if found.is_multicast or found.is_unspecified or found.is_loopback else found


def _forms(sa: IkeSa) -> tuple[Small, ...]:
    """Of small copies: the one that is known to get through first, those that the peer understands."""
    usual = Small.IKE_FRAGMENTS if sa.is_ours else Small.PACKET_FRAGMENTS
    order = dict.fromkeys((sa.small or usual, usual, *Small))
    return tuple(form for form in order if sa.fragment_size or form != Small.IKE_FRAGMENTS)


def _four_round_trips(core: Core, sa: IkeSa) -> float:
    """What they take at most, seconds, where none has been measured: the handshake was two, and some arithmetic."""
    first = policy(core, sa).first_s
    return first if sa.established_at is None else min(first, 2 * (sa.established_at - sa.created_at))


def _notify(mtu: int, doubts: bool, size: int, inside: IPAddress | None = None) -> Notify:
    """The notify, its data filled up to ``size`` octets."""
    flags = _DOUBTS if doubts else 0
    if inside is not None:
        flags |= _INSIDE_4 if inside.version == 4 else _INSIDE_6
    data = MARK + _TAIL.pack(mtu, flags) + (inside.packed if inside is not None else b"")
    return Notify(NotifyType.XFRMCTL_PATH_MTU, data + bytes(max(0, size - len(data))))


def _room(core: Core, sa: IkeSa, size: int) -> int:
    """Octets of the notify's data in an outer packet of ``size`` octets, or of the largest below it."""
    assert sa.protect_out is not None
    return sa.protect_out.capacity(size - _outer(core, sa, 0)) - _NOTIFY_HEAD


def _outer(core: Core, sa: IkeSa, message: int) -> int:
    return packet_size(sa.local, message, core.config.nat_t_port)


class Probes:
    """The engine's face for probes; ``ike`` is the short name of an IKE SA."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def find(self, ike: str) -> IkeSa | None:
        """The IKE SA of this name; to be read only."""
        serial = ike.rpartition("#")[2]
        return self._core.sas.get(int(serial)) if serial.isdigit() else None

    def grid(self, ike: str) -> tuple[int, int]:
        """The outer sizes that this SA's messages can have: an offset, and what multiples of are added; bytes."""
        sa = self.find(ike)
        if sa is None or sa.protect_out is None:
            return (0, 1)
        return _outer(self._core, sa, sa.protect_out.smallest) % sa.protect_out.block, sa.protect_out.block

    def send(
        self,
        ike: str,
        token: int,
        size: int,
        now: float,
        *,
        mtu: int = 0,
        doubts: bool = False,
        inside: IPAddress | None = None,
    ) -> None:
        """Probe with an outer packet of ``size`` bytes, or of the largest below it that there is.

        Answered by ReportProbe(token) exactly once. ``mtu`` and ``doubts`` are for a gateway of ours: what we take
        this direction to carry, and whether the other one needs a look; ``inside`` an address of ours in the tunnel.
        """
        core, sa = self._core, self.find(ike)
        core.now = now
        if sa is None or sa.state != IkeState.ESTABLISHED or sa.probing is not None:
            core.emit(ReportProbe(token, ProbeOutcome.UNAVAILABLE, size))
            return
        sa.own_mtu, sa.own_inside = mtu, inside
        sa.probing = Probing(token, size, sa.local, sa.remote)
        begin(core, sa, Probe(token, size, mtu, doubts, inside))

    def not_sent(self, token: int, now: float) -> None:
        """Our own link does not take a packet of this size: the small copy goes at once."""
        core = self._core
        core.now = now
        for sa in core.sas.values():
            if sa.outstanding is not None and sa.outstanding.probe == token and sa.probing is not None:
                sa.probing.too_big = True
                send_small_copy(core, sa)
                return
