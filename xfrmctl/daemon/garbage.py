"""When Python's garbage is collected: never all at once, which takes a second with ten thousand tunnels.

Reference counts free nearly everything. The engine makes no cycles at all (tests/unit/daemon/test_garbage.py holds it
to that), so what it keeps is put aside for good whenever it has grown, and a collection looks at the rest only: what
HTTP connections leave behind.
"""

import gc

from xfrmctl.model.events import ChildSaInstalled, Event

YOUNG = (700, 10, 1_000_000)
"""Python's own habit for what is young; what is old is collected by :meth:`Garbage.tidy` alone."""

GROWN = 200
"""CHILD SAs that have come since the engine's objects were put aside: a hundred objects each."""

MANY = 50_000
"""More old objects than this are somebody's look at thousands of tunnels: it is soon over, and frees itself."""

SKIPS = 60
"""How often in a row that may be so."""


class Garbage:
    """Collects for one daemon. Listens to the engine."""

    def __init__(self) -> None:
        self._grown = self._skipped = 0

    def start(self) -> None:
        """From now on; what there is lives as long as the daemon, modules and configuration."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*YOUNG)
        gc.enable()

    def observe(self, event: Event) -> None:
        """Put aside what the engine has come to hold."""
        if isinstance(event, ChildSaInstalled):
            self._grown += 1
            if self._grown >= GROWN:
                self._grown = 0
                gc.collect(1)
                gc.freeze()

    def tidy(self) -> None:
        """Collect what is old, now and then: some thousand objects."""
        if len(gc.get_objects(generation=2)) > MANY and self._skipped < SKIPS:
            self._skipped += 1
            return
        self._skipped = 0
        gc.collect()
