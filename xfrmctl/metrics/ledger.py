"""What SAs have carried, added up by child: the kernel's counters begin anew with every SA, these do not.

An SA is known from its installation to its deletion. It is looked at with every scrape, and a last time just before we
delete it; so a rekey loses nothing, whenever the last scrape was. What a replaced inbound SA still receives is counted,
too. Nothing is ever counted twice.
"""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from xfrmctl.model.events import ChildSaInstalled, Event
from xfrmctl.model.sa import SaCounters, SaId, SaMove

Key = tuple[str, str, str]
"""Connection, child, direction."""


@dataclass(slots=True)
class Totals:
    """Sums over all SAs that there ever were."""

    bytes: int = 0
    packets: int = 0
    replay_drops: int = 0
    late_drops: int = 0
    integrity_failures: int = 0

    def add(self, now: "Totals", before: "Totals") -> None:
        """An SA has grown; one that has less than before is another one with the same name, and counts from 0."""
        if now.packets < before.packets or now.bytes < before.bytes:
            before = Totals()
        self.bytes += now.bytes - before.bytes
        self.packets += now.packets - before.packets
        self.replay_drops += max(0, now.replay_drops - before.replay_drops)
        self.late_drops += max(0, now.late_drops - before.late_drops)
        self.integrity_failures += max(0, now.integrity_failures - before.integrity_failures)


@dataclass(slots=True)
class Account:
    """One SA: where it counts, and what it had counted at the last look."""

    key: Key
    reqid: int
    last: Totals


NOTHING = Totals()


class Ledger:
    """The totals of all children, and by reqid those of each peer."""

    def __init__(self) -> None:
        self._accounts: dict[SaId, Account] = {}
        self._totals: dict[Key, Totals] = {}
        self._of_peers: dict[tuple[Key, int], Totals] = {}

    def totals(self, connection: str, child: str, direction: str) -> Totals:
        """Of one child; to be read only."""
        return self._totals.get((connection, child, direction), NOTHING)

    def of_peer(self, connection: str, child: str, direction: str, reqid: int) -> Totals:
        """Of one child of one peer, as long as it has SAs; to be read only."""
        return self._of_peers.get(((connection, child, direction), reqid), NOTHING)

    # -- which SA is whose

    def observe(self, event: Event) -> None:
        """Open the accounts of a CHILD SA that has been installed."""
        if isinstance(event, ChildSaInstalled):
            for direction, sa_id in (("in", event.inbound), ("out", event.outbound)):
                key = (event.connection, event.child, direction)
                self._accounts[sa_id] = Account(key, event.reqid, Totals())

    def moved(self, moves: Iterable[SaMove]) -> None:
        """SAs have other addresses, and so other names; they go on counting."""
        for move in moves:
            account = self._accounts.pop(move.id, None)
            if account is not None:
                self._accounts[move.new_id] = account

    def ended(self, ids: Iterable[SaId], last: Iterable[SaCounters]) -> None:
        """SAs are deleted now; ``last`` is what the kernel says of those that it still has."""
        self.look(last)
        for sa_id in ids:
            self._accounts.pop(sa_id, None)

    # -- what they carry

    def look(self, counted: Iterable[SaCounters]) -> None:
        """Take in what the kernel has counted, of all SAs or of some. Strangers are left out."""
        for found in counted:
            account = self._accounts.get(found.id)
            if account is None:
                continue
            now = Totals(found.bytes, found.packets, found.replay_drops, found.late_drops, found.integrity_failures)
            if now == account.last:
                continue
            before, account.last = account.last, now
            self._totals.setdefault(account.key, Totals()).add(now, before)
            self._of_peers.setdefault((account.key, account.reqid), Totals()).add(now, before)

    def keep(self, children: Container[tuple[str, str]], reqids: Container[int]) -> Iterator[None]:
        """Forget children that are configured no longer, and peers without an SA. In steps."""
        for key in list(self._totals):
            if key[:2] not in children:
                del self._totals[key]
            yield
        for of_peer in list(self._of_peers):
            if of_peer[0][:2] not in children or of_peer[1] not in reqids:
                del self._of_peers[of_peer]
            yield
