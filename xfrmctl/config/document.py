"""YAML text -> plain data plus the place of every value.

Scalars follow the YAML 1.2 core schema in its plainest form: ``true``/``false``, decimal integers without
leading zeros, ``null``; everything else is text. So ``mss: off`` is the word off, and ``psk: 0x12ab`` keeps
its digits. Anchors, aliases and merge keys work; what they expand to is bounded.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from xfrmctl.config.handed import credential
from xfrmctl.config.problem import ConfigError, Problem, Wrong

Key = tuple[str | int, ...]
"""Where a value stands in the data: mapping keys and list indices from the root."""

MAX_NODES = 2_000_000
"""Bound on values after aliases are expanded ("billion laughs"); 10,000 connections need a quarter of it."""

MAX_DEPTH = 32

_Base: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc, valid-type]
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's protocol


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^-?(0|[1-9][0-9]*)$"), list("-0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])


@dataclass(frozen=True, slots=True)
class FileReference:
    """``!file PATH``, ``!credential NAME``: the value is a file's content; paths start at the configuration file."""

    path: str


@dataclass(slots=True)
class Document:
    """The data of one file and the places of its values (line, column, counted from 1)."""

    file: Path
    data: object = None
    places: dict[Key, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, key: Key, cause: str, cure: str) -> Problem:
        """A problem at ``key``, or at its nearest ancestor that stands in the file."""
        known = key
        while known and known not in self.places:
            known = known[:-1]
        line, column = self.places.get(known, (1, 1))
        return Problem(file=self.file, line=line, column=column, key=dotted(key), cause=cause, cure=cure)


def dotted(key: Key) -> str:
    """``connections.branch-7.children.lan.local_ts[0]``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse(text: str, file: Path) -> Document:
    """Read one YAML document.

    Faults of single keys (twice the same, a strange tag) are collected in ``problems``; text that is no YAML
    raises ConfigError at once.
    """
    document = Document(file)
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax_problem(error, file)]) from None
    except yaml.YAMLError as error:  # a character that YAML does not allow
        cause = str(error).splitlines()[0]
        cure = "save the file as UTF-8 text without control characters"
        raise ConfigError(
            [Problem(file=file, line=1, column=1, key="", cause=f"not YAML: {cause}", cure=cure)]
        ) from None
    except RecursionError:
        cause = "nested too deeply"
        raise ConfigError(
            [Problem(file=file, line=1, column=1, key="", cause=cause, cure="write it flatter")]
        ) from None
    finally:
        loader.dispose()
    if root is not None:
        document.data = _Walk(document).value(root, (), 0)
    return document


def _syntax_problem(error: yaml.MarkedYAMLError, file: Path) -> Problem:
    mark = error.problem_mark or error.context_mark
    cause = " ".join(part for part in (error.context, error.problem) if part)
    cure = "check the indentation, the colons and the quotes of this line and the one above it"
    if "'\\t'" in cause or "tab" in cause:
        cure = "indent with spaces, not with tabs"
    elif "but found another document" in cause:
        cure = "keep one document in a file: remove the line ---"
    elif "anchor" in cause or "alias" in cause:
        cure = "define the anchor (&name) above the place that uses it (*name)"
    return Problem(
        file=file,
        line=mark.line + 1 if mark else 1,
        column=mark.column + 1 if mark else 1,
        key="",
        cause=f"not YAML: {cause}",
        cure=cure,
    )


class _Walk:
    """One pass over the nodes of a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.budget = MAX_NODES

    def fault(self, node: yaml.Node, key: Key, cause: str, cure: str) -> None:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self.document.problems.append(
            Problem(file=self.document.file, line=line, column=column, key=dotted(key), cause=cause, cure=cure)
        )

    def value(self, node: yaml.Node, key: Key, depth: int) -> object:
        self.document.places.setdefault(key, (node.start_mark.line + 1, node.start_mark.column + 1))
        self.budget -= 1
        if self.budget == 0:
            self.fault(node, key, "the file expands to too many values", "use fewer aliases")
        if self.budget <= 0 or depth > MAX_DEPTH:
            if depth > MAX_DEPTH:
                self.fault(node, key, "nested too deeply (an alias inside its own anchor?)", "write it flatter")
                self.budget = 0
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*key, index), depth + 1) for index, item in enumerate(node.value)]
        return self.scalar(node, key)

    def scalar(self, node: yaml.Node, key: Key) -> object:
        text = str(node.value)
        match node.tag:
            case "tag:yaml.org,2002:str" | "tag:yaml.org,2002:merge":
                return text
            case "tag:yaml.org,2002:int" if re.fullmatch(r"-?[0-9]{1,30}", text):
                return int(text)
            case "tag:yaml.org,2002:bool" if text in ("true", "false"):
                return text == "true"
            case "tag:yaml.org,2002:null":
                return None
            case "!file":
                return FileReference(text)
            case "!credential":
                try:
                    return FileReference(str(credential(text)))
                except Wrong as wrong:
                    self.fault(node, key, wrong.cause, wrong.cure)
                    return None
        self.fault(node, key, f"unknown tag {node.tag}", "the tags are !file PATH and !credential NAME, for secrets")
        return text

    def mapping(self, node: yaml.MappingNode, key: Key, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        merged: list[yaml.Node] = []
        seen: dict[str, int] = {}
        for name_node, value_node in node.value:
            if name_node.tag == "tag:yaml.org,2002:merge":
                merged.append(value_node)
                continue
            if not isinstance(name_node, yaml.ScalarNode):
                self.fault(name_node, key, "a key must be a word", "write KEY: VALUE")
                continue
            name = str(name_node.value)
            place = (*key, name)
            if name in seen:
                cause = f"{name!r} stands twice: first in line {seen[name]}"
                self.fault(name_node, place, cause, "keep one of the two")
                continue
            seen[name] = name_node.start_mark.line + 1
            mark = name_node.start_mark
            self.document.places.setdefault(place, (mark.line + 1, mark.column + 1))
            found[name] = self.value(value_node, place, depth + 1)
        for source in merged:
            self.merge(source, found, key, depth)
        return found

    def merge(self, source: yaml.Node, found: dict[str, object], key: Key, depth: int) -> None:
        """``<<: *anchor``: what is not written here comes from there (the first source wins)."""
        sources = source.value if isinstance(source, yaml.SequenceNode) else [source]
        for mapping in sources:
            if not isinstance(mapping, yaml.MappingNode):
                self.fault(mapping, key, "<< merges mappings only", "write <<: *anchor of a mapping")
                continue
            if depth > MAX_DEPTH:
                self.fault(mapping, key, "nested too deeply (an alias inside its own anchor?)", "write it flatter")
                continue
            for name, value in self.mapping(mapping, key, depth + 1).items():
                found.setdefault(name, value)
