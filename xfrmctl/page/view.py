"""What a page is made of: a snapshot, what was seen before, what was found."""

from dataclasses import dataclass

from xfrmctl.model.finding import Diagnosis
from xfrmctl.model.snapshot import Snapshot
from xfrmctl.page.history import History

REFRESH = (0, 10, 60)
"""Seconds that a reader may choose; 0: never."""


@dataclass(frozen=True, slots=True)
class Look:
    """The last look for faults. ``fault`` is why there is none; ``busy``: one is under way."""

    found: Diagnosis | None = None
    age_s: float = 0.0
    busy: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What one page is made of. ``host`` is this machine's name, ``taken`` when the snapshot was, as text."""

    host: str
    taken: str
    snapshot: Snapshot
    history: History
    look: Look
    refresh: int = 0
    number: int = 1
