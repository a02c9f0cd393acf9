"""Watches addresses and routes of this host, and tells the engine when it should look at them again.

One change of network is a burst of messages (an address, its routes, the old ones away): the first look comes a moment
after the first message, the next ones at a distance. On a router with many peers and many routes a look costs
something, so the distance grows with what the last look has taken.
"""

import asyncio
from collections.abc import Callable

from xfrmctl.kernel.netlink.network import NetworkEvents

SETTLE_S = 0.05
"""From the first message of a burst to the first look."""

DISTANCE_S = 0.5
"""From one look to the next, at least."""

SHARE = 20
"""Looks take one part in so many of our time, at most."""


class NetworkWatch:
    """``look`` is called in the event loop's thread, now and then while messages come, and once after the last.

    It is told whether an address has gone since the last time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, look: Callable[[bool], None]) -> None:
        self._loop = loop
        self._look = look
        self._events = NetworkEvents()
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._address_gone = False
        loop.add_reader(self._events.fileno(), self._readable)

    def _readable(self) -> None:
        matters = self._events.read()
        self._address_gone |= self._events.address_gone
        if matters and self._timer is None:
            self._timer = self._loop.call_at(max(self._loop.time() + SETTLE_S, self._not_before), self._due)

    def _due(self) -> None:
        self._timer = None
        began = self._loop.time()
        address_gone, self._address_gone = self._address_gone, False
        self._look(address_gone)
        ended = self._loop.time()
        self._not_before = ended + max(DISTANCE_S, SHARE * (ended - began))

    def close(self) -> None:
        """Watch no more."""
        self._loop.remove_reader(self._events.fileno())
        self._events.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
