"""ipsec.secrets: ``OWNER OWNER : KIND VALUE``. What is indented goes on with the line before it."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from xfrmctl.importers.origin import ImportFault, Place, Setting

MAX_ENTRIES = 100_000
_TOKEN = re.compile(r'\s*(?:"([^"\n]*)"|\'([^\'\n]*)\'|(#[^\n]*)|(\{[^}]*\})|(\S+))')

Include = Callable[[str, Place, int], Iterable[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One secret. ``setting.value`` is the key, or the name of a file; ``more``: there is more behind it."""

    kind: str
    owners: tuple[str, ...]
    setting: Setting = field(repr=False)
    quoted: bool = False
    more: bool = False


def parse(text: str, name: str, include: Include, depth: int = 0) -> list[Entry]:
    """Read a file. Raises ImportFault, which never shows the text."""
    found: list[Entry] = []
    for place, logical in _logical(text, name):
        match = re.fullmatch(r"include\s+(\S+)\s*", logical)
        if match:
            for inner, content in include(match[1].strip('"'), place, depth):
                found += parse(content, inner, include, depth + 1)
        elif tokens := _tokens(logical, place):
            found.append(_entry(tokens, place))
        if len(found) > MAX_ENTRIES:
            raise ImportFault(place, f"more than {MAX_ENTRIES} secrets", "is it the right file?")
    return found


def _logical(text: str, name: str) -> Iterable[tuple[Place, str]]:
    """Lines with those that go on with them."""
    begun, lines = 0, list[str]()
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and lines:
            lines.append(line)
            continue
        if lines:
            yield Place(name, begun), "\n".join(lines)
        begun, lines = number, [line]
    if lines:
        yield Place(name, begun), "\n".join(lines)


def _tokens(text: str, place: Place) -> list[tuple[str, bool]]:
    """Words, and whether each was in quotes."""
    found: list[tuple[str, bool]] = []
    at = 0
    while at < len(text) and (match := _TOKEN.match(text, at)):
        at = match.end()
        if match[3] is not None:
            continue
        if match[5] is not None and match[5][:1] in ('"', "'", "{"):
            raise ImportFault(place, "a quotation or brace without its end", "add what is missing")
        quoted = match[1] is not None or match[2] is not None
        found.append((next(g for g in (match[1], match[2], match[4], match[5]) if g is not None), quoted))
    return found


def _entry(tokens: list[tuple[str, bool]], place: Place) -> Entry:
    owners: list[str] = []
    while tokens and not (tokens[0][0] == ":" and not tokens[0][1]):
        word, quoted = tokens.pop(0)
        if word.endswith(":") and not quoted and tokens and len(word) > 1 and "::" not in word:
            owners.append(word[:-1])  # moon: PSK
            break
        owners.append(word)
    else:
        if not tokens:
            raise ImportFault(place, "no : between owners and secret", 'write OWNER : PSK "…"')
        tokens.pop(0)
    if len(tokens) < 2:
        raise ImportFault(place, "a kind or a secret is missing", 'write OWNER : PSK "…"')
    (kind, _), (value, quoted), *more = tokens
    kind = kind.upper() if re.fullmatch(r"[A-Za-z0-9]{1,12}", kind) else "of no known kind"
    setting = Setting(f"secrets.{kind}", value, place)
    return Entry(kind, tuple(owners), setting, quoted, bool(more))
