"""One queue of deadlines for the whole engine, each with the reason it exists.

Setting and cancelling are O(log n) and O(1): a cancelled entry stays in the heap and is skipped when it surfaces.
"""

import heapq
from enum import Enum


class Timer(Enum):
    """Why the engine wants to be woken. RETRY belongs to a connection, the others to an IKE SA."""

    RETRANSMIT = "a request is unanswered (RFC 7296 2.1)"
    HALF_OPEN = "a peer that began a handshake has not authenticated itself"
    LIVENESS = "nothing was heard from the peer for a while (RFC 7296 2.4)"
    KEEPALIVE = "the NAT between us must not forget the mapping (RFC 3948 2.3)"
    REKEY = "the keys of the IKE SA are old (RFC 7296 2.8)"
    REKEY_CHILD = "a CHILD SA could not be rekeyed because the peer was busy (RFC 7296 2.25)"
    REAUTH = "the peer is to prove its identity again (RFC 7296 2.8.3)"
    REASSEMBLY = "the rest of a message in fragments has not come (RFC 7383 2.6)"
    RETIRE = "packets on their way to a replaced CHILD SA have had their time"
    SUPERSEDED = "the peer has not deleted an IKE SA that it has replaced or made anew"
    PROBE = "both copies of a probe may have got through"
    RETRY = "a connection that should be up is down"

    __hash__ = object.__hash__  # members are singletons, and Enum's own hash is a Python call


Owner = int | str
"""The serial number of an IKE SA, or the name of a connection."""


class TimerQueue:
    """Deadlines in monotonic seconds; at most one per (owner, timer)."""

    def __init__(self) -> None:
        self._due: dict[tuple[Owner, Timer], float] = {}
        self._heap: list[tuple[float, int, Owner, Timer]] = []
        self._count = 0

    def set(self, owner: Owner, timer: Timer, at: float) -> None:
        """Arm or move a timer."""
        self._due[owner, timer] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, owner, timer))

    def cancel(self, owner: Owner, timer: Timer) -> None:
        """Disarm; unknown timers are no error."""
        self._due.pop((owner, timer), None)

    def cancel_all(self, owner: Owner) -> None:
        """Disarm everything an owner has."""
        for timer in Timer:
            self._due.pop((owner, timer), None)

    def at(self, owner: Owner, timer: Timer) -> float | None:
        """When a timer is due, None if it is not armed."""
        return self._due.get((owner, timer))

    def deadline(self) -> float | None:
        """The earliest deadline, None if nothing is armed."""
        while self._heap:
            at, _, owner, timer = self._heap[0]
            if self._due.get((owner, timer)) == at:
                return at
            heapq.heappop(self._heap)
        return None

    def expire(self, now: float) -> list[tuple[Owner, Timer]]:
        """Disarm and return everything that is due, earliest first."""
        found: list[tuple[Owner, Timer]] = []
        while (at := self.deadline()) is not None and at <= now:
            _, _, owner, timer = heapq.heappop(self._heap)
            del self._due[owner, timer]
            found.append((owner, timer))
        return found
