"""How often things have happened to each connection and child since the start: what ``show`` and ``top`` tell of it."""

from collections import Counter

from xfrmctl.model.events import (
    ChildSaRekeyed,
    Event,
    IkeSaEstablished,
    IkeSaRekeyed,
    MessageSent,
    NegotiationFailed,
    PeerSilent,
)
from xfrmctl.model.snapshot import HistoryInfo


class Tally:
    """Counts of one daemon's life; an event costs a look-up. Names that are not configured are never counted."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self._rekeys: Counter[tuple[str, str]] = Counter()

    def observe(self, event: Event) -> None:
        """Count one event."""
        match event:
            case MessageSent(connection=name, attempt=attempt) if attempt > 1:
                self._count(name, "retransmissions")
            case IkeSaEstablished(connection=name):
                self._count(name, "established")
            case IkeSaRekeyed(connection=name):
                self._count(name, "ike_rekeys")
            case ChildSaRekeyed(connection=name, child=child):
                self._count(name, "child_rekeys")
                self._rekeys[name, child] += 1
            case NegotiationFailed(connection=name):
                self._count(name, "failures")
            case PeerSilent(connection=name):
                self._count(name, "silences")

    def _count(self, connection: str, what: str) -> None:
        if connection:
            self._counts.setdefault(connection, Counter())[what] += 1

    def history(self, connection: str) -> HistoryInfo:
        """What has happened to a connection."""
        found = self._counts.get(connection, Counter())
        return HistoryInfo(
            established=found["established"],
            ike_rekeys=found["ike_rekeys"],
            child_rekeys=found["child_rekeys"],
            failures=found["failures"],
            retransmissions=found["retransmissions"],
            silences=found["silences"],
        )

    def rekeys(self, connection: str, child: str) -> int:
        """How often the keys of a child have been renewed, those of all its peers together."""
        return self._rekeys[connection, child]
