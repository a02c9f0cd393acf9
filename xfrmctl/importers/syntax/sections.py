"""Sections within sections: the form of strongswan.conf(5), which swanctl.conf has.

    connections {
      net : defaults.all {           a section that inherits from another
        version = 2                  a value ends with its line
        local { auth = psk           so this brace has to be on the next
        }
      }
    }
    include conf.d/*.conf            in place, within the section where it stands

A section that comes again goes on; a key that comes again replaces the former one.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from xfrmctl.importers.origin import ImportFault, Place, Setting

MAX_DEPTH = 16
MAX_SETTINGS = 500_000

_NAME = re.compile(r"""[^\s.,:{}="#]+""")
_SPACE = re.compile(r"(?:[^\S\n]+|#[^\n]*)+")
_BLANK = re.compile(r"[^\S\n]+")
_COMMENT = re.compile(r"#[^\n]*")
_WORD = re.compile(r"""(?:@#|[^\s"#])+""")
_REFERENCE = re.compile(r"""[^\s,:{}="#]+""")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}

Include = Callable[[str, Place, int], Iterable[tuple[str, str]]]
"""Pattern, place and depth of an include -> names and texts of the files."""


@dataclass(slots=True)
class Section:
    """Settings and sections by name, in the order of the file. ``path`` is dotted from the top."""

    path: str
    place: Place
    settings: dict[str, Setting] = field(default_factory=dict)
    sections: "dict[str, Section]" = field(default_factory=dict)
    references: list[tuple[str, Place]] = field(default_factory=list)

    def walk(self) -> "Iterator[Section]":
        """This section and all within it."""
        yield self
        for section in self.sections.values():
            yield from section.walk()


@dataclass(slots=True)
class Tree:
    """A whole file with all that it includes; ``overridden`` are settings that a later one replaces."""

    root: Section
    overridden: list[tuple[Setting, Setting]] = field(default_factory=list)
    count: int = 0

    @property
    def settings(self) -> list[Setting]:
        """Every setting that holds."""
        return [setting for section in self.root.walk() for setting in section.settings.values()]


def parse(text: str, name: str, include: Include) -> Tree:
    """Read a file. Raises ImportFault."""
    tree = Tree(Section("", Place(name, 1)))
    _Reader(text, name, tree, include, 0).read(tree.root)
    return tree


class _Reader:
    """One file; those that it includes get readers of their own."""

    def __init__(self, text: str, name: str, tree: Tree, include: Include, depth: int) -> None:
        self._text, self._name, self._tree = text.replace("\r\n", "\n"), name, tree
        self._include, self._depth = include, depth
        self._at, self._line = 0, 1

    def read(self, into: Section) -> None:
        """The file, into a section."""
        open_sections = [into]
        while self._blank(newlines=True):
            here = open_sections[-1]
            if self._peek() == "}":
                self._at += 1
                open_sections.pop()
                if not open_sections:
                    raise self._fault("a } without its {", "take it out")
                continue
            begun = self._statement(here)
            if begun is not None:
                open_sections.append(begun)
                if len(open_sections) > MAX_DEPTH:
                    raise self._fault("sections go too deep", f"{MAX_DEPTH} levels are all there may be")
        if len(open_sections) > 1:
            raise ImportFault(open_sections[-1].place, "this section has no end", "add the missing }")

    def _statement(self, here: Section) -> Section | None:
        """A setting, an include, or the beginning of a section, which is returned."""
        place = Place(self._name, self._line)
        word = self._match(_NAME)
        if not word:
            raise self._fault("neither a name nor a }", "a line is NAME = VALUE, NAME { or include PATTERN")
        self._blank(newlines=False)
        after = self._peek()
        if word == "include" and after not in ("=", "{", ":"):
            self._included(here, place)
            return None
        if after == "=":
            self._at += 1
            self._set(here, word, self._value(), place)
            return None
        references = self._references() if after == ":" else []
        self._blank(newlines=True)
        if self._peek() != "{":
            raise ImportFault(place, "a name without = or { behind it", "write NAME = VALUE, or NAME {")
        self._at += 1
        path = f"{here.path}.{word}" if here.path else word
        section = here.sections.setdefault(word, Section(path, place))
        section.references += references
        self._count()
        return section

    def _set(self, here: Section, word: str, value: str, place: Place) -> None:
        setting = Setting(f"{here.path}.{word}" if here.path else word, value, place)
        former = here.settings.get(word)
        if former is not None:
            self._tree.overridden.append((former, setting))
        here.settings[word] = setting
        self._count()

    def _count(self) -> None:
        self._tree.count += 1
        if self._tree.count > MAX_SETTINGS:
            raise self._fault(f"more than {MAX_SETTINGS} settings", "is it the right file?")

    def _included(self, here: Section, place: Place) -> None:
        pattern = self._value()
        if not pattern:
            raise ImportFault(place, "include of nothing", "write include PATTERN")
        for name, text in self._include(pattern, place, self._depth):
            _Reader(text, name, self._tree, self._include, self._depth + 1).read(here)

    def _references(self) -> list[tuple[str, Place]]:
        """``: base, connections.other``; they are looked up from the top."""
        found: list[tuple[str, Place]] = []
        while self._peek() in (":", ","):
            self._at += 1
            self._blank(newlines=True)
            found.append((self._match(_REFERENCE), Place(self._name, self._line)))
            if not found[-1][0]:
                raise self._fault("a reference without a name", "write NAME : OTHER {")
            self._blank(newlines=True)
        return found

    def _value(self) -> str:
        """All up to the end of the line, blanks collapsed; quoted parts are taken as they are."""
        parts: list[str] = []
        while self._at < len(self._text):
            self._match(_BLANK)
            here = self._peek()
            if here in ("", "\n"):
                break
            if here == "#":
                self._match(_COMMENT)
            elif here == '"':
                parts.append(self._quoted())
            else:
                word = self._match(_WORD)
                if word[-1:] in ("{", "}") or word in ("{", "}"):
                    raise self._fault("a brace in a value", "values end with their line: put the brace on the next")
                parts.append(word)
        return " ".join(parts)

    def _quoted(self) -> str:
        begun = Place(self._name, self._line)
        self._at += 1
        found: list[str] = []
        while (c := self._peek()) != '"':
            if not c:
                raise ImportFault(begun, "a quotation without its end", 'add the missing "')
            self._at += 1
            if c == "\\":
                c = self._peek()
                self._at += 1
                self._line += c == "\n"
                found.append("" if c == "\n" else _ESCAPES.get(c, c))
                continue
            self._line += c == "\n"
            found.append(c)
        self._at += 1
        return "".join(found)

    def _blank(self, *, newlines: bool) -> bool:
        """Skip blanks and comments; whether anything is left."""
        while True:
            self._match(_SPACE)
            if not newlines or self._peek() != "\n":
                return self._at < len(self._text)
            self._at += 1
            self._line += 1

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _fault(self, cause: str, cure: str) -> ImportFault:
        return ImportFault(Place(self._name, self._line), cause, cure)


def inherited(tree: Tree, section: Section) -> Section:
    """A section with all that its references bring: what it says itself comes first, then they from left to right.

    An empty value takes an inherited one away. Raises ImportFault for references to nothing, or in a circle.
    """
    return _inherit(tree, section, ())


def _inherit(tree: Tree, section: Section, above: tuple[int, ...]) -> Section:
    if id(section) in above or len(above) > 2 * MAX_DEPTH:
        raise ImportFault(section.place, "references go in a circle", "take one of them out")
    above = (*above, id(section))
    found = Section(section.path, section.place, dict(section.settings))
    for name, inner in section.sections.items():
        found.sections[name] = _inherit(tree, inner, above)
    for reference, place in section.references:
        target = _find(tree.root, reference)
        if target is None:
            raise ImportFault(place, "a reference to a section that is not there", "name it from the top: A.B.C")
        _add(found, _inherit(tree, target, above))
    return found


def _add(into: Section, other: Section) -> None:
    for name, setting in other.settings.items():
        into.settings.setdefault(name, setting)
    for name, section in other.sections.items():
        if name in into.sections:
            _add(into.sections[name], section)
        else:
            into.sections[name] = section


def _find(root: Section, path: str) -> Section | None:
    here: Section | None = root
    for name in path.split("."):
        here = here.sections.get(name) if here else None
    return here
