"""The settings of one section against the table of what its options become: nothing is read that no table names.

A table has one row for each option. Rows that are MAPPED or CHANGED are read by the dialect and told by the mapping;
all others, and whatever no table knows, are told here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from xfrmctl.importers.origin import Setting, Told
from xfrmctl.importers.report import Fate, Report

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What becomes of an option.

    ``to`` is our key. ``note`` says what is different, or why there is nothing here, and what to do. ``harmless`` are
    values that ask for what is the case here anyway.
    """

    fate: Fate
    to: str = ""
    note: str = ""
    todo: str = ""
    harmless: tuple[str, ...] = ()


Table = Mapping[str, Known]


def mapped(to: str, note: str = "") -> Known:
    """It means the same here."""
    return Known(fate=Fate.MAPPED, to=to, note=note)


def changed(to: str, note: str) -> Known:
    """It is here, and differs in part."""
    return Known(fate=Fate.CHANGED, to=to, note=note)


def dropped(note: str, todo: str = "", *harmless: str) -> Known:
    """It has no counterpart; with a ``harmless`` value nothing is lost by that."""
    return Known(fate=Fate.DROPPED, note=note, todo=todo, harmless=harmless)


class Options:
    """The settings of one section, and the report of those that nobody asks for."""

    def __init__(self, settings: Mapping[str, Setting], table: Table, report: Report, connection: str = "") -> None:
        self._settings, self._table, self._report, self._connection = settings, table, report, connection
        self._asked: set[str] = set()

    def get(self, name: str) -> Setting | None:
        """A setting; None where there is none, or an empty one, which stands for the default."""
        known = self._table[name]
        if known.fate not in (Fate.MAPPED, Fate.CHANGED):
            raise LookupError(f"{name} is read, and its row says {known.fate.value}")
        self._asked.add(name)
        setting = self._settings.get(name)
        if setting is not None and not setting.value.strip():
            why = "empty: the default holds"
            self._report.tell(Fate.MAPPED, setting, why=why, connection=self._connection)
            return None
        return setting

    def told(self, name: str, default: T, read: Callable[[str], T], otherwise: T | None = None) -> Told[T]:
        """A setting's value. Where ``read`` raises ValueError, somebody has to decide.

        Until then the default holds, or ``otherwise`` where the default would let in more than was meant.
        """
        setting = self.get(name)
        if setting is None:
            return Told(default)
        try:
            return Told(read(setting.value), setting)
        except ValueError as error:
            self.cannot(setting, str(error) or "not understood")
            return Told(default if otherwise is None else otherwise)

    def one_of(self, name: str, default: str, words: Mapping[str, str]) -> Told[str]:
        """A setting that is a word; ``words`` has what each means."""

        def read(text: str) -> str:
            found = words.get(text.strip().lower())
            if found is None:
                raise ValueError(f"no value that is known; known are {', '.join(words)}")
            return found

        return self.told(name, default, read)

    def cannot(self, setting: Setting, why: str) -> None:
        """A value that nothing can be made of."""
        todo = "the default was taken; see what it should say"
        self._report.tell(Fate.DECIDE, setting, why=why, todo=todo, connection=self._connection)

    def part(self, setting: Setting, why: str) -> None:
        """A setting whose value went into that of another one, or says no more than what is the case anyway."""
        self._report.tell(Fate.MAPPED, setting, why=why, connection=self._connection)

    def rest(self) -> None:
        """Tell of all that nobody has asked for."""
        for name, setting in self._settings.items():
            if name not in self._asked:
                tell_known(self._report, setting, self._table.get(name), self._connection)


def tell_known(report: Report, setting: Setting, known: Known | None, connection: str) -> None:
    """Tell what becomes of a setting that is not read."""
    if known is None:
        why, todo = "an option that nobody here knows", "see what it did, and whether it is needed"
        report.tell(Fate.UNKNOWN, setting, why=why, todo=todo, connection=connection)
    elif setting.value.strip().lower() in ("", *known.harmless):
        report.tell(Fate.MAPPED, setting, why="as it is here", connection=connection)
    else:
        report.tell(known.fate, setting, why=known.note, todo=known.todo, connection=connection)
