"""What has been found between two points."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from xfrmctl.trace.pairs import Side
from xfrmctl.trace.sizes import Fit


class Severity(Enum):
    """FAULT: packets are lost or answers are. CHANGE: somebody on the way wrote into packets. NOTE: good to know."""

    FAULT = "fault"
    CHANGE = "change"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A packet: its point, its number as Wireshark counts, and what is to be seen in it."""

    side: Side
    number: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``count`` is how often it was seen; ``evidence`` is of the first times. ``details`` are sentences."""

    code: str
    severity: Severity
    title: str
    details: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    fits: tuple[Fit, ...] = ()
    count: int = 1
    values: Mapping[str, int | str] = field(default_factory=dict)


MOST_EVIDENCE = 3
