"""What is told of a packet."""

from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """PASS: it goes on. CHANGE: it goes on, other than it came. UNSURE: it may not. DROP, END: where it ends."""

    PASS = "pass"
    CHANGE = "change"
    DROP = "drop"
    UNSURE = "unsure"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that the kernel does. ``evidence`` is quoted from the kernel or from programs.

    ``depends`` is what is not known here and may change what the step says.
    """

    where: str
    text: str
    outcome: Outcome = Outcome.PASS
    evidence: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Journey:
    """All steps of one packet. ``end`` is one sentence; ``dropped`` where it does not get there."""

    title: str
    steps: list[Step] = field(default_factory=list)
    end: str = ""
    dropped: bool = False

    def add(
        self,
        where: str,
        text: str,
        outcome: Outcome = Outcome.PASS,
        evidence: tuple[str, ...] = (),
        depends: tuple[str, ...] = (),
    ) -> None:
        """Tell one more step; a drop ends the journey."""
        if depends and outcome is Outcome.PASS:
            outcome = Outcome.UNSURE
        self.steps.append(Step(where=where, text=text, outcome=outcome, evidence=evidence, depends=depends))
        if outcome is Outcome.DROP:
            self.dropped, self.end = True, f"dropped at {where}: {text}"

    @property
    def depends(self) -> tuple[str, ...]:
        """Everything that is not known and might change the end."""
        return tuple(dict.fromkeys(d for step in self.steps for d in step.depends))
