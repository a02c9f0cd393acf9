"""A report of measured facts for the terminal: one line per fact, a mark where a fact is a check."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Fact:
    """One line; ``holds`` is None for a plain measurement and the verdict for a check."""

    what: str
    value: str
    holds: bool | None = None


@dataclass(slots=True)
class Report:
    """Facts in the order in which they are to be read."""

    title: str
    facts: list[Fact] = field(default_factory=list)

    def tell(self, what: str, value: str) -> None:
        """A measurement."""
        self.facts.append(Fact(what, value))

    def check(self, what: str, value: str, holds: bool) -> None:
        """A measurement that has to be as it is."""
        self.facts.append(Fact(what, value, holds))

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(fact.holds is not False for fact in self.facts)

    def text(self) -> str:
        """The report, columns aligned."""
        width = max((len(fact.what) for fact in self.facts), default=0)
        marks = {None: "      ", True: "ok    ", False: "FAIL  "}
        lines = [self.title, ""]
        lines += [f"  {marks[fact.holds]}{fact.what.ljust(width)}  {fact.value}" for fact in self.facts]
        checks = [fact for fact in self.facts if fact.holds is not None]
        failed = sum(not fact.holds for fact in checks)
        verdict = f"all {len(checks)} checks hold" if not failed else f"{failed} of {len(checks)} checks FAIL"
        return "\n".join([*lines, "", f"  {verdict}", ""])
