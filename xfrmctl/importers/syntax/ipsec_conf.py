"""Lines of ``key=value`` in sections: the form of ipsec.conf, strongSwan's and libreswan's.

    config setup
        uniqueids=no
    conn %default
        keyexchange=ikev2
    conn net
        also=base               what the section base says counts as if written here
        leftsubnet=10.1.0.0/16

A section begins at the margin, what belongs to it is indented. ``#`` begins a comment where a blank, or nothing, is
before it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from xfrmctl.importers.origin import ImportFault, Place, Setting

MAX_SETTINGS = 500_000
MAX_DEPTH = 16
DEFAULT = "%default"

_HEADER = re.compile(r"(config|conn|ca)\s+(\S+)\s*")
_INCLUDE = re.compile(r"\s*include\s+(.+)")
_PAIR = re.compile(r"([A-Za-z][\w.-]*)\s*=\s*(.*)")
_COMMENT = re.compile(r"(?:^|\s)#.*")

Include = Callable[[str, Place, int], Iterable[tuple[str, str]]]


@dataclass(slots=True)
class Block:
    """One section: ``conn net``. Settings stand in the order of the file; ``also`` may stand several times."""

    kind: str
    name: str
    place: Place
    settings: list[Setting] = field(default_factory=list)


@dataclass(slots=True)
class Blocks:
    """All sections of a file and of what it includes, by kind and name. A section that comes again goes on."""

    found: dict[tuple[str, str], Block] = field(default_factory=dict)
    count: int = 0

    def of(self, kind: str) -> Iterator[Block]:
        """The sections of a kind, defaults excepted."""
        return (block for (k, name), block in self.found.items() if k == kind and name != DEFAULT)

    @property
    def settings(self) -> list[Setting]:
        """Every setting."""
        return [setting for block in self.found.values() for setting in block.settings]


def parse(text: str, name: str, include: Include) -> Blocks:
    """Read a file. Raises ImportFault."""
    blocks = Blocks()
    _read(text, name, blocks, include, 0)
    return blocks


def _read(text: str, name: str, blocks: Blocks, include: Include, depth: int) -> None:
    here: Block | None = None
    for number, raw in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        place = Place(name, number)
        if not (line := _without_comment(raw).rstrip()):
            continue
        if match := _INCLUDE.fullmatch(line):
            for inner, content in include(match[1].strip().strip('"'), place, depth):
                _read(content, inner, blocks, include, depth + 1)
            here = None if not raw[:1].isspace() else here
        elif not line[:1].isspace():
            here = _section(line, place, blocks)
        elif here is None:
            raise ImportFault(place, "an indented line outside of any section", "begin with conn NAME at the margin")
        else:
            _setting(line.strip(), place, here, blocks)


def _without_comment(line: str) -> str:
    """The line before its comment; a ``#`` in quotes is none."""
    parts = line.split('"')
    if len(parts) == 1:
        return _COMMENT.sub("", line, count=1)
    for at in range(0, len(parts), 2):
        if found := _COMMENT.search(parts[at]):
            return '"'.join([*parts[:at], parts[at][: found.start()]])
    return line


def _section(line: str, place: Place, blocks: Blocks) -> Block | None:
    if re.fullmatch(r"version\s+\S+", line):
        return None
    match = _HEADER.fullmatch(line)
    if match is None:
        cure = "sections begin with config setup, conn NAME or ca NAME; what belongs to them is indented"
        raise ImportFault(place, "neither a section nor indented", cure)
    return blocks.found.setdefault((match[1], match[2]), Block(match[1], match[2], place))


def _setting(line: str, place: Place, here: Block, blocks: Blocks) -> None:
    match = _PAIR.fullmatch(line)
    if match is None:
        raise ImportFault(place, "no setting", "write key=value")
    value = match[2].strip()
    if value.startswith('"'):
        if len(value) < 2 or not value.endswith('"'):
            raise ImportFault(place, "a quotation without its end", 'add the missing "')
        value = value[1:-1].replace('\\"', '"')
    blocks.count += 1
    if blocks.count > MAX_SETTINGS:
        raise ImportFault(place, f"more than {MAX_SETTINGS} settings", "is it the right file?")
    here.settings.append(Setting(f"{here.kind} {here.name}.{match[1].lower()}", value, place))


def option(setting: Setting) -> str:
    """The bare name of an option, without its section."""
    return setting.name.rpartition(".")[2]


@dataclass(slots=True)
class Effective:
    """What holds for one section: settings by option. ``used`` are all that were looked at, ``lost`` what gave way."""

    settings: dict[str, Setting] = field(default_factory=dict)
    used: list[Setting] = field(default_factory=list)
    lost: list[tuple[Setting, Setting]] = field(default_factory=list)


def effective(blocks: Blocks, block: Block, *, last_also_wins: bool) -> Effective:
    """A section with its ``also`` and the defaults. Raises ImportFault for sections that are not there, or circles.

    What it says itself comes first. Of several ``also`` the last wins with strongSwan, the first with libreswan.
    """
    found = Effective()
    _collect(blocks, block, found, (), flip=False, last=last_also_wins)
    default = blocks.found.get((block.kind, DEFAULT))
    for setting in default.settings if default else ():
        found.settings.setdefault(option(setting), setting)
    return found


def _collect(blocks: Blocks, block: Block, found: Effective, above: tuple[str, ...], *, flip: bool, last: bool) -> None:
    if block.name in above or len(above) > MAX_DEPTH:
        raise ImportFault(block.place, "also goes in a circle", "take one of them out")
    others: list[tuple[Setting, bool]] = []
    own: dict[str, Setting] = {}
    for setting in block.settings:
        name = option(setting)
        found.used.append(setting)
        if name in ("also", "alsoflip"):
            others.append((setting, flip ^ (name == "alsoflip")))
            continue
        former = own.get(name)
        if former is not None:
            found.lost.append((former, setting))
        own[name] = setting
    for name, setting in own.items():
        found.settings.setdefault(_flipped(name) if flip else name, setting)
    for setting, turned in others[::-1] if last else others:
        for name in setting.value.split(","):
            target = blocks.found.get((block.kind, name.strip()))
            if target is None:
                raise ImportFault(setting.place, "also names a section that is not there", "name one that is")
            _collect(blocks, target, found, (*above, block.name), flip=turned, last=last)


def _flipped(name: str) -> str:
    if name.startswith("left"):
        return f"right{name[4:]}"
    return f"left{name[5:]}" if name.startswith("right") else name
