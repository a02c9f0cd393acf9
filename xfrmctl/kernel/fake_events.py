"""The fake kernel's netlink multicast socket."""

import os
from collections import deque

from xfrmctl.kernel.events import KernelEvent


class FakeEvents:
    """Events by hand; the descriptor is readable while any waits."""

    def __init__(self) -> None:
        self._events: deque[KernelEvent] = deque()
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def put(self, event: KernelEvent) -> None:
        """Let an event arrive."""
        self._events.append(event)
        os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._fd

    def read(self) -> list[KernelEvent]:
        """Everything that has arrived."""
        if self._events:
            os.eventfd_read(self._fd)
        found = list(self._events)
        self._events.clear()
        return found

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)
