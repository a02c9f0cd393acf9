"""A rule set as values."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Option:
    """One option with its values, as written: ``! --dports 22,80``."""

    name: str
    values: tuple[str, ...] = ()
    negated: bool = False

    @property
    def value(self) -> str:
        """The values as one word."""
        return " ".join(self.values)

    def __str__(self) -> str:
        return " ".join((*(("!",) if self.negated else ()), self.name, *self.values))


@dataclass(frozen=True, slots=True)
class Match:
    """One ``-m module`` with its options; ``module`` is "" for what needs none (-s, -d, -p, -i, -o, -f)."""

    module: str
    options: tuple[Option, ...]

    def get(self, name: str) -> Option | None:
        """The first option of this name."""
        return next((o for o in self.options if o.name == name), None)

    def __str__(self) -> str:
        words = (f"-m {self.module}",) if self.module else ()
        return " ".join((*words, *(str(o) for o in self.options)))


@dataclass(frozen=True, slots=True)
class Target:
    """``-j NAME`` or ``-g NAME`` with options; the name is a verdict, an extension or a chain."""

    name: str
    options: tuple[Option, ...] = ()
    goto: bool = False

    def get(self, name: str) -> Option | None:
        """The first option of this name."""
        return next((o for o in self.options if o.name == name), None)

    def __str__(self) -> str:
        return " ".join((self.name, *(str(o) for o in self.options)))


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``number`` counts from 1 within its chain, as ``iptables -D CHAIN number`` does.

    ``packets`` and ``bytes`` are its counters, None where the text was saved without them.
    """

    table: str
    chain: str
    number: int
    matches: tuple[Match, ...]
    target: Target | None
    text: str
    packets: int | None = None
    bytes: int | None = None

    def __str__(self) -> str:
        counted = "" if self.packets is None else f"[{self.packets}:{self.bytes}] "
        return f"{counted}-t {self.table} {self.text}"


@dataclass(slots=True)
class Chain:
    """``policy`` is ACCEPT or DROP; None for a chain of the user's, which returns to its caller."""

    name: str
    policy: str | None
    rules: list[Rule] = field(default_factory=list)
    packets: int | None = None


@dataclass(slots=True)
class RuleSet:
    """All tables of one family (4 or 6) of one variant; ``notes`` are what the program said beside the rules."""

    family: int
    tables: dict[str, dict[str, Chain]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def chain(self, table: str, name: str) -> Chain | None:
        """A chain, None where there is none."""
        return self.tables.get(table, {}).get(name)

    def rules(self) -> Iterator[Rule]:
        """Every rule, table by table."""
        for chains in self.tables.values():
            for chain in chains.values():
                yield from chain.rules

    def __bool__(self) -> bool:
        """Whether any rule stands, or any chain drops by its policy."""
        return any(c.rules or c.policy not in (None, "ACCEPT") for t in self.tables.values() for c in t.values())
