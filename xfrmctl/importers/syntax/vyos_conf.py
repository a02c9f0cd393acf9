"""VyOS: ``config.boot`` with braces, or ``set`` commands. Both become paths of words, each with its place.

vpn {                                        set vpn ipsec ike-group IKE lifetime '3600'
    ipsec {
        ike-group IKE {
            lifetime 3600
        }
    }
}
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from xfrmctl.importers.origin import ImportFault, Place, Setting

MAX_DEPTH = 32
MAX_SETTINGS = 500_000
_WORD = re.compile(r"""\s*(?:"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'|([^\s"'{}]+)|([{}]))""")
_SET = re.compile(r"^\s*(?:set|delete|deactivate|comment)\s", re.MULTILINE)


@dataclass(slots=True)
class Node:
    """A word of a path and what stands beneath it. A value is a word without anything beneath."""

    path: tuple[str, ...]
    place: Place
    inner: "dict[str, Node]" = field(default_factory=dict)

    def get(self, *path: str) -> "Node | None":
        """The node at a path from here on."""
        here: Node | None = self
        for word in path:
            here = here.inner.get(word) if here else None
        return here

    def leaves(self) -> "Iterator[Node]":
        """All ends of paths beneath, this one if nothing is."""
        if not self.inner:
            yield self
        for node in self.inner.values():
            yield from node.leaves()

    @property
    def name(self) -> str:
        """Its own word."""
        return self.path[-1] if self.path else ""

    @property
    def setting(self) -> Setting:
        """The end of a path as a setting: the last word is the value."""
        return Setting(" ".join(self.path[:-1]), self.name, self.place)


def values(node: Node | None) -> list[Setting]:
    """The values of one option that may have several."""
    return [inner.setting for inner in node.inner.values()] if node else []


def parse(text: str, name: str) -> Node:
    """Read a file. Raises ImportFault."""
    root = Node((), Place(name, 1))
    lines = _without_comments(text.replace("\r\n", "\n"), name).split("\n")
    paths = _commands(lines, name) if _SET.search(text) else _braces(lines, name)
    for number, (words, place) in enumerate(paths):
        if number >= MAX_SETTINGS:
            raise ImportFault(place, f"more than {MAX_SETTINGS} settings", "is it the right file?")
        here = root
        for at, word in enumerate(words):
            here = here.inner.setdefault(word, Node(tuple(words[: at + 1]), place))
    return root


def _without_comments(text: str, name: str) -> str:
    """``/* … */`` and ``//`` at the margin give way to blanks; lines stay where they are."""

    def blank(match: re.Match[str]) -> str:
        return "\n" * match[0].count("\n")

    found = re.sub(r"(?m)^\s*/\*.*?\*/", blank, text, flags=re.DOTALL)
    found = re.sub(r"(?m)^\s*(?://|#).*$", "", found)
    if match := re.search(r"(?m)^\s*/\*", found):
        raise ImportFault(Place(name, found.count("\n", 0, match.start()) + 1), "a comment without its end", "add */")
    return found


def _commands(lines: list[str], name: str) -> Iterator[tuple[list[str], Place]]:
    """``set`` commands; others change nothing that is written."""
    for number, line in enumerate(lines, 1):
        place = Place(name, number)
        words = [word for word, _ in _words(line, place)]
        if not words:
            continue
        if words[0] != "set":
            raise ImportFault(place, "no set command", "feed the output of `show configuration commands`")
        if len(words) > MAX_DEPTH:
            raise ImportFault(place, "a path that is too long", f"{MAX_DEPTH} words are all there may be")
        yield words[1:], place


def _braces(lines: list[str], name: str) -> Iterator[tuple[list[str], Place]]:
    """``NAME {``, ``NAME TAG {``, ``NAME VALUE`` and ``}``, one on a line."""
    above: list[list[str]] = []
    for number, line in enumerate(lines, 1):
        place = Place(name, number)
        found = _words(line, place)
        if not found:
            continue
        words = [word for word, _ in found]
        braces = [is_brace for _, is_brace in found]
        if words == ["}"] and braces[0]:
            if not above:
                raise ImportFault(place, "a } without its {", "take it out")
            above.pop()
        elif braces[-1] and words[-1] == "{" and not any(braces[:-1]) and len(words) > 1:
            above.append(words[:-1])
            if len(above) > MAX_DEPTH:
                raise ImportFault(place, "sections go too deep", f"{MAX_DEPTH} levels are all there may be")
            yield [word for part in above for word in part], place
        elif any(braces):
            raise ImportFault(place, "a brace where none can be", "it ends its line, or stands alone on it")
        else:
            yield [word for part in above for word in part] + words, place
    if above:
        raise ImportFault(Place(name, len(lines)), "a section has no end", "add the missing }")


def _words(line: str, place: Place) -> list[tuple[str, bool]]:
    """The words of a line, and whether each is a brace of the form itself."""
    found: list[tuple[str, bool]] = []
    at = 0
    while line[at:].strip():
        match = _WORD.match(line, at)
        if match is None:
            raise ImportFault(place, "a quotation without its end", "add the missing quote")
        at = match.end()
        if match[1] is not None:
            found.append((re.sub(r"\\(.)", r"\1", match[1]), False))
        else:
            found.append((next(g for g in match.groups()[1:] if g is not None), match[4] is not None))
    return found
