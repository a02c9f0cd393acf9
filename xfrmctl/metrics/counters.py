"""Counters fed from the event stream: what happened, as often as it happened."""

from collections.abc import Callable, Container, Iterator

from xfrmctl.metrics import happenings as h
from xfrmctl.metrics.instruments import Counter, Histogram
from xfrmctl.metrics.page import Exemplar, Page
from xfrmctl.model.events import (
    CarriersDiffer,
    ChildSaInstalled,
    ChildSaRekeyed,
    ChildSaRemoved,
    ConfigReloaded,
    CookieDemanded,
    DatagramDropped,
    DatagramNotSent,
    Event,
    IcmpErrorJudged,
    IkeSaClosed,
    IkeSaEstablished,
    IkeSaRekeyed,
    KernelDisturbed,
    KernelTrouble,
    MessageReceived,
    MessageSent,
    NegotiationFailed,
    PathChanged,
    PathMtuChanged,
    PathMtuHinted,
    PathProbed,
    PeerMoved,
    PeerSilent,
    RekeyCollided,
    RetryScheduled,
)
from xfrmctl.model.iana import ExchangeType, NotifyType

DURATIONS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
STEPS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
VERDICTS_S = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)
NAT_DETECTION = "N(NAT_DETECTION_"
MAX_REASONS = 64
"""Reasons for dropped datagrams are a small fixed set; should one slip in from outside, it ends here."""


class EventCounters:
    """``observe`` every event once. With ``exemplars`` some numbers carry the IKE SA that moved them last."""

    def __init__(self, wall: Callable[[], float], *, exemplars: bool = False) -> None:
        """``wall`` gives the seconds since the epoch, for exemplars."""
        self.exemplars = exemplars
        self._wall = wall
        self._reasons: set[str] = set()
        self._asked: dict[str, int] = {}
        self._counters = {family: Counter(family) for family in h.COUNTERS}
        self._histograms = {
            h.HANDSHAKES: Histogram(h.HANDSHAKES, DURATIONS_S),
            h.REKEY_DURATION: Histogram(h.REKEY_DURATION, DURATIONS_S),
            h.STEPS: Histogram(h.STEPS, STEPS_S),
            h.VERDICTS: Histogram(h.VERDICTS, VERDICTS_S),
        }
        for role in h.ROLES:
            self._histograms[h.HANDSHAKES].begin(role)
        for what in h.REKEYED:
            self._histograms[h.REKEY_DURATION].begin(what)
        for family, words in h.FIRST:
            self._counters[family].begin(*words)
        self._count = {family: each.inc for family, each in self._counters.items()}
        self.stepped = self._histograms[h.STEPS].observe

    def begin(self, connection: str) -> None:
        """Have the series of a configured connection whose labels are known."""
        for family in h.BY_CONNECTION:
            self._counters[family].begin(connection)

    def keep(self, connections: Container[str]) -> Iterator[None]:
        """Forget connections that are configured no longer. In steps."""
        for each in self._counters.values():
            yield from each.keep(connections)

    def show(self, page: Page) -> Iterator[None]:
        """Put everything on a page. In steps."""
        for each in self._counters.values():
            yield from each.show(page)
        for sizes in self._histograms.values():
            yield from sizes.show(page)

    def observe(self, event: Event) -> None:
        """Count one event; events nobody counts are ignored."""
        count = self._count
        match event:
            case MessageSent() | MessageReceived():
                self._message(event)
            case DatagramDropped():
                count[h.DROPPED](self._reason(event.reason))
            case DatagramNotSent():
                count[h.NOT_SENT]()
            case CookieDemanded():
                count[h.COOKIES]()
            case IcmpErrorJudged():
                verdict = "accepted" if event.accepted else "dropped"
                count[h.ICMP_ERRORS](verdict, event.reason, f"ipv{event.family}")
                self._histograms[h.VERDICTS].observe(event.took_s)
            case PathMtuChanged():
                count[h.PATH_CHANGES](event.reason.replace(" ", "_"))
            case PathMtuHinted():
                count[h.PATH_ERRORS](event.verdict.replace(" ", "_"))
            case PathProbed():
                count[h.PROBE_OUTCOMES](event.outcome.value.replace(" ", "_"))
            case CarriersDiffer():
                count[h.CARRIERS_DIFFER]()
            case KernelDisturbed():
                count[h.DISTURBANCES]()
            case KernelTrouble():
                count[h.TROUBLES]()
            case ConfigReloaded():
                count[h.RELOADS]("ok" if event.ok else "refused")
            case _:
                self._life(event)

    def _life(self, event: Event) -> None:
        """What becomes of negotiations and of SAs."""
        count = self._count
        match event:
            case NegotiationFailed():
                words = event.connection, event.failure.code.value, notify_word(event.failure.notify)
                count[h.FAILURES](*words, exemplar=self._exemplar(event.ike, 1))
            case IkeSaEstablished():
                count[h.ESTABLISHED](event.connection)
                role = "initiator" if event.initiator else "responder"
                example = self._exemplar(event.ike, event.handshake_s)
                self._histograms[h.HANDSHAKES].observe(event.handshake_s, role, exemplar=example)
            case IkeSaClosed():
                self._asked.pop(event.ike, None)
                count[h.CLOSED](event.connection, event.reason.code.value)
            case ChildSaInstalled():
                count[h.INSTALLED](event.connection)
            case ChildSaRemoved():
                count[h.REMOVED](event.connection, event.reason.code.value)
            case IkeSaRekeyed():
                self._rekeyed("ike", event.connection, event.new, event.took_s)
            case ChildSaRekeyed():
                self._rekeyed("child", event.connection, event.ike, event.took_s)
            case RekeyCollided():
                count[h.COLLISIONS](event.connection, "child" if event.child else "ike")
            case PeerSilent():
                count[h.SILENT](event.connection)
                if self._asked.pop(event.ike, None) is not None:
                    count[h.LIVENESS](event.connection, "silent")
            case PathChanged() | PeerMoved():
                count[h.MOVES](event.connection)
            case RetryScheduled():
                count[h.RETRIES](event.connection)

    def _rekeyed(self, what: str, connection: str, ike: str, took_s: float | None) -> None:
        self._count[h.REKEYS](connection, what, "responder" if took_s is None else "initiator")
        if took_s is not None:
            self._histograms[h.REKEY_DURATION].observe(took_s, what, exemplar=self._exemplar(ike, took_s))

    def _message(self, event: MessageSent | MessageReceived) -> None:
        """Every message passes here."""
        count, sent = self._count, isinstance(event, MessageSent)
        direction = "out" if sent else "in"
        count[h.MESSAGES](direction, event.exchange.name.lower() if event.exchange.is_known else "other")
        count[h.OCTETS](direction, by=event.size)
        if event.fragments > 1:
            count[h.FRAGMENTS](direction, by=event.fragments)
        if isinstance(event, MessageSent) and event.attempt > 1:
            count[h.RETRANSMISSIONS](event.connection, exemplar=self._exemplar(event.ike, 1))
        elif event.exchange == ExchangeType.INFORMATIONAL:
            self._liveness(event, sent=sent)

    def _liveness(self, event: MessageSent | MessageReceived, *, sent: bool) -> None:
        """An empty request is the question whether the peer lives (RFC 7296 1.4), the next answer with its id the yes.

        Behind a NAT it has NAT detection in it (RFC 4555 3.8). One request of an IKE SA at most waits for an answer.
        """
        if sent and not event.response and all(name.startswith(NAT_DETECTION) for name in event.payloads):
            self._asked[event.ike] = event.message_id
            self._count[h.LIVENESS](event.connection, "asked")
        elif not sent and event.response and self._asked.get(event.ike) == event.message_id:
            del self._asked[event.ike]
            self._count[h.LIVENESS](event.connection, "answered")

    def _exemplar(self, ike: str, value: float) -> Exemplar | None:
        return Exemplar(ike, float(value), self._wall()) if self.exemplars else None

    def _reason(self, reason: str) -> str:
        if reason not in self._reasons:
            if len(self._reasons) >= MAX_REASONS:
                return "other"
            self._reasons.add(reason)
        return reason


def notify_word(notify: str) -> str:
    """The Notify that went with a failure as a label: small letters, none, or other for a number without a name."""
    if not notify:
        return "none"
    return notify.lower() if notify in NotifyType.__members__ else "other"
