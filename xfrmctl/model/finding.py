"""What ``xfrmctl diagnose`` finds: plain values of JSON types, served by the control API and printed by the command."""

from dataclasses import dataclass, field

ERROR, WARNING = "error", "warning"
"""``Finding.severity``: packets or negotiations are lost now; or something works worse than it could, or soon will."""

HERE, PEER = "here", "peer"
"""``Line.end``: which of the two gateways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Something to type or to write at one end. ``product``: xfrmctl, shell, strongSwan, libreswan or Cisco IOS.

    ``place`` is the section of the product's configuration that it belongs to, "" for a command. ``text`` may be of
    several lines, indented as the product's own.
    """

    end: str
    product: str
    text: str
    place: str = ""

    @property
    def where(self) -> str:
        """Product and place, to stand before the text."""
        return f"{self.product}, {self.place}" if self.place else self.product


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault. ``id`` is stable; ``connection`` and ``child`` are "" where the whole gateway is meant.

    ``evidence`` is what was seen: a counter, a rule, an answer, a line of the configuration, as the source spells it.
    """

    id: str
    severity: str
    connection: str = ""
    child: str = ""
    symptom: str
    evidence: list[str]
    cause: str
    cure_here: str
    cure_peer: str
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The result. ``blind``: what could not be looked at, and why; ``seconds``: how long counters were watched."""

    connections: list[str]
    seconds: float
    findings: list[Finding]
    blind: list[str]
