"""One connection of ours in the making. What is said of its settings waits until its name is certain."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xfrmctl.importers.origin import Setting, Told
from xfrmctl.importers.report import Fate, Report

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileValue:
    """``!file PATH``."""

    path: str


Scalar = str | int | bool | FileValue
Value = Scalar | list[str]


@dataclass(frozen=True, slots=True)
class Written:
    """A value with the comment that stands behind it."""

    value: Value
    comment: str = ""


Tree = dict[str, "Written | Tree"]

OURS: Mapping[Key, Value] = {
    ("ike", "dpd"): "30s",
    ("ike", "rekey"): "4h",
    ("ike", "reauth"): "off",
    ("ike", "keepalive"): "20s",
    ("ike", "encap"): "auto",
    ("ike", "fragmentation"): "auto",
    ("ike", "mobike"): True,
    ("ike", "childless"): "allow",
    ("retry", "tries"): "forever",
    ("auth", "revocation"): "relaxed",
    ("auth", "fetch"): False,
    ("auth", "rsa"): "auto",
    ("children", "*", "mode"): "tunnel",
    ("children", "*", "replay_window"): 128,
    ("children", "*", "offload"): "no",
    ("children", "*", "df"): "copy",
    ("children", "*", "ecn"): "on",
    ("children", "*", "dscp", "outbound"): "copy",
    ("children", "*", "dscp", "inbound"): "keep",
    ("children", "*", "rekey", "time"): "1h",
    ("children", "*", "mtu"): "auto",
}
"""Our defaults: what the other daemon's default says as well is not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the report to be."""

    fate: Fate
    setting: Setting | None
    key: Key
    shown: str = ""
    why: str = ""
    todo: str = ""


@dataclass(slots=True)
class Draft:
    """Our connection and the lines of the report about it.

    ``product`` is whose defaults they were; ``files`` are those of all connections.
    """

    name: str
    product: str
    tree: Tree = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def put(
        self, key: Key, value: Value, told: Told[object], *, why: str = "", todo: str = "", keep: bool = False
    ) -> None:
        """Write a value and tell of its setting; with ``why`` it differs in part.

        What no setting says is a default of theirs: it is written where ours differs, or to ``keep`` it.
        """
        if told.setting is None:
            if OURS.get(_general(key)) == value and not keep:
                return
            self.write(key, value, f"{self.product}'s default")
            self.say(Fate.STATED, None, key, value, why=why or f"the default of {self.product}", todo=todo)
            return
        self.write(key, value, str(told.setting.place))
        self.say(Fate.CHANGED if why else Fate.MAPPED, told.setting, key, value, why=why, todo=todo)

    def write(self, key: Key, value: Value, comment: str = "") -> None:
        """Write a value only."""
        here = self.tree
        for part in key[:-1]:
            inner = here.setdefault(part, {})
            if isinstance(inner, Written):
                raise TypeError(f"{part} of {key} is a value already")
            here = inner
        here[key[-1]] = Written(value, comment)

    def remove(self, key: Key) -> None:
        """Take back what stands at a key."""
        above = self.find(key[:-1])
        if isinstance(above, dict):
            above.pop(key[-1], None)

    def say(
        self,
        fate: Fate,
        setting: Setting | None,
        key: Key = (),
        value: Value | None = None,
        *,
        why: str = "",
        todo: str = "",
    ) -> None:
        """Tell of a setting only."""
        shown = "" if value is None else spelled(value)
        self.lines.append(Line(fate=fate, setting=setting, key=key, shown=shown, why=why, todo=todo))

    def find(self, key: Key) -> "Written | Tree | None":
        """What stands at a key."""
        here: Written | Tree | None = self.tree
        for part in key:
            here = here.get(part) if isinstance(here, dict) else None
        return here

    def flush(self, report: Report, connection: str) -> None:
        """Hand the lines over, under the name that our connection has in the end."""
        for line in self.lines:
            to = ".".join(("connections", self.name, *line.key)) if line.key else ""
            shown = f"{to} = {line.shown}" if line.shown else to
            report.tell(
                line.fate,
                line.setting,
                option=".".join(line.key) or connection,
                to=shown,
                why=line.why,
                todo=line.todo,
                connection=connection,
            )


def leaves(tree: Tree, above: Key = ()) -> Iterator[tuple[Key, Written]]:
    """All values of a tree with their keys."""
    for name, inner in tree.items():
        if isinstance(inner, Written):
            yield (*above, name), inner
        else:
            yield from leaves(inner, (*above, name))


def spelled(value: Value) -> str:
    """A value as the report shows it."""
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return ", ".join(value)
        case FileValue():
            return f"!file {value.path}"
    return str(value)


def _general(key: Key) -> Key:
    return ("children", "*", *key[2:]) if key[0] == "children" and len(key) > 2 else key
