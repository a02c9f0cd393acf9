"""The three answers of a match: yes, no, or "depends on …" with what would have to be known."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Truth:
    """``value`` is None where it cannot be decided; ``why`` then says on what it depends, else what has decided."""

    value: bool | None
    why: str = ""

    def negated(self, negate: bool) -> "Truth":
        """The opposite where ``negate``; what is undecided stays so."""
        return Truth(not self.value, self.why) if negate and self.value is not None else self


YES = Truth(True)


def yes_no(value: bool | None, why: str) -> Truth:
    """An answer and its reason."""
    return Truth(value, why)


def depends(on: str) -> Truth:
    """An answer that cannot be given."""
    return Truth(None, on)


def every(answers: Iterable[Truth]) -> Truth:
    """All of them: the first no decides, else whatever is undecided; the reasons of a yes are kept."""
    unknown: list[str] = []
    known: list[str] = []
    for answer in answers:
        if answer.value is False:
            return answer
        (unknown if answer.value is None else known).append(answer.why)
    if unknown:
        return Truth(None, "; ".join(unknown))
    return Truth(True, "; ".join(w for w in known if w))
