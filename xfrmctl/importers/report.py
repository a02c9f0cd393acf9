"""What became of each option: the report of an import, for people and for scripts."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from xfrmctl.importers.origin import Place, Setting, printable


class Fate(Enum):
    """What became of an option.

    MAPPED: it means the same here. CHANGED: it is here, but means something else in part. STATED: nobody wrote it; the
    other daemon's default differs from ours, so the configuration says it. DROPPED: it has no counterpart.
    UNKNOWN: nobody here knows it. DECIDE: somebody has to.
    """

    MAPPED = "mapped"
    CHANGED = "changed"
    STATED = "stated"
    DROPPED = "dropped"
    UNKNOWN = "unknown"
    DECIDE = "decide"


ORDER = (Fate.DECIDE, Fate.UNKNOWN, Fate.DROPPED, Fate.CHANGED, Fate.STATED, Fate.MAPPED)
_HEADINGS = {
    Fate.DECIDE: "To decide: the tunnel does not work, or not as it did, until somebody has",
    Fate.UNKNOWN: "Unknown: nobody here knows these options, and they are left out",
    Fate.DROPPED: "Dropped: these have no counterpart here",
    Fate.CHANGED: "Changed: these are there, but differ in part",
    Fate.STATED: "Stated: nobody wrote these; their default differs from ours and is now written down",
    Fate.MAPPED: "Mapped: these mean the same here",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the report.

    ``option`` and ``value`` are theirs, ``place`` where it stands; ``to`` is our key, with its value. ``why`` and
    ``todo`` are for people; ``connections`` are those of theirs that it concerns.
    """

    fate: Fate
    option: str
    value: str = ""
    place: Place | None = None
    to: str = ""
    why: str = ""
    todo: str = ""
    connections: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The entry as text, without its fate."""
        where = f"{self.place}: " if self.place else ""
        what = printable(self.option) + (f" = {self.value}" if self.value else "")
        text = f"{where}{what}" + (f" -> {self.to}" if self.to else "")
        text += f": {self.why}" if self.why else ""
        text += f"; {self.todo}" if self.todo else ""
        of = ", ".join(map(printable, self.connections[:4])) + (" …" if len(self.connections) > 4 else "")
        return text + (f" [{of}]" if of else "")


@dataclass(slots=True)
class Report:
    """Collects entries; equal ones of several connections become one."""

    _entries: dict[Entry, list[str]] = field(default_factory=dict)
    _told: set[Setting] = field(default_factory=set)

    def tell(
        self,
        fate: Fate,
        setting: Setting | None,
        *,
        option: str = "",
        to: str = "",
        why: str = "",
        todo: str = "",
        connection: str = "",
    ) -> None:
        """Add an entry; ``option`` names what has no setting."""
        entry = Entry(
            fate=fate,
            option=setting.name if setting else option,
            value=setting.shown if setting else "",
            place=setting.place if setting else None,
            to=to,
            why=why,
            todo=todo,
        )
        if setting is not None:
            self._told.add(setting)
        names = self._entries.setdefault(entry, [])
        if connection and connection not in names:
            names.append(connection)

    def has(self, setting: Setting) -> bool:
        """Whether anything was said of it."""
        return setting in self._told

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them: what needs somebody first, then by place."""
        found = [replace(entry, connections=tuple(names)) for entry, names in self._entries.items()]
        nowhere = Place("", 0)
        return tuple(sorted(found, key=lambda e: (ORDER.index(e.fate), e.place or nowhere, e.option, e.to)))

    def count(self, fate: Fate) -> int:
        """How many entries have this fate."""
        return sum(entry.fate is fate for entry in self._entries)

    def text(self, fates: Iterable[Fate] = ORDER) -> str:
        """The report for people."""
        wanted, lines = set(fates), []
        entries = self.entries
        for fate in ORDER:
            of_it = [e.line for e in entries if e.fate is fate]
            if of_it and fate in wanted:
                lines += [f"{_HEADINGS[fate]} ({len(of_it)})", *(f"  {line}" for line in of_it), ""]
        return "\n".join(lines)

    def plain(self) -> list[dict[str, object]]:
        """The report for scripts."""
        return [
            {
                "fate": e.fate.value,
                "option": printable(e.option),
                "value": e.value,
                "file": e.place.file if e.place else None,
                "line": e.place.line if e.place else None,
                "to": e.to,
                "why": e.why,
                "todo": e.todo,
                "connections": list(e.connections),
            }
            for e in self.entries
        ]
