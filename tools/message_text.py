"""What a call would say, read from the source: literals as they are, everything else as ``…``."""

import ast
from collections.abc import Iterable

REST = "…"
Block = tuple[tuple[int, str], ...]
"""The branches that a statement stands in, the outermost first: which statement, and which side of it."""

LIST = "Known: "
"""Introduces the words that there are."""

MOST = 4
"""Ways in which one field may read; more are told as ``…``."""


def literal(node: ast.expr) -> str:
    """The text of a constant; empty for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


class Reader:
    """The arguments of one call, with names looked up in the function that it stands in."""

    def __init__(self, function: ast.AST, call: ast.Call) -> None:
        self._call = call
        self._place: Block = ()
        self._assigned: dict[str, list[tuple[Block, ast.expr]]] = {}
        self._scan(function, ())
        self._values = {name: self._reaching(found) for name, found in self._assigned.items()}

    def _scan(self, node: ast.AST, block: Block) -> None:
        """Note the assignments before the call, each with the branches that it stands in, and those of the call."""
        for name, part in ast.iter_fields(node):
            for child in part if isinstance(part, list) else [part]:
                if not isinstance(child, ast.AST):
                    continue
                branches = isinstance(node, ast.If | ast.For | ast.While | ast.Try | ast.match_case | ast.ExceptHandler)
                inside = (*block, (id(node), name)) if branches and name in ("body", "orelse", "handlers") else block
                if child is self._call:
                    self._place = inside
                if getattr(child, "lineno", 0) <= self._call.lineno:
                    if isinstance(child, ast.Assign):
                        for target in child.targets:
                            self._assign(target, child.value, inside)
                    elif isinstance(child, ast.AnnAssign | ast.NamedExpr) and child.value is not None:
                        self._assign(child.target, child.value, inside)
                self._scan(child, inside)

    def _assign(self, target: ast.expr, value: ast.expr, block: Block) -> None:
        if isinstance(target, ast.Name):
            self._assigned.setdefault(target.id, []).append((block, value))
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for one, other in zip(target.elts, value.elts, strict=True):
                self._assign(one, other, block)

    def _reaching(self, found: list[tuple[Block, ast.expr]]) -> list[ast.expr]:
        """The values that a name may have at the call: the last ones, back to one that is assigned in any case."""
        values: list[ast.expr] = []
        for block, value in reversed(found):
            here = dict(self._place)
            if any(here.get(branch, side) != side for branch, side in block):
                continue  # the other branch
            values.append(value)
            if self._place[: len(block)] == block:
                break
        return values[::-1]

    def field(self, which: int | str | None) -> list[str]:
        """The ways in which a field may read; none where it is not given."""
        if which is None:
            return []
        if isinstance(which, int):
            given = self._call.args[which] if which < len(self._call.args) else None
            if isinstance(given, ast.Starred):
                return [REST]
        else:
            given = next((word.value for word in self._call.keywords if word.arg == which), None)
        return [] if given is None else self._read(given, ())

    @staticmethod
    def text(node: ast.expr) -> str:
        """One expression on its own."""
        return Reader(ast.Module([], []), ast.Call(ast.Name("x"), [node], [], lineno=0)).field(0)[0]

    def word(self, which: str) -> str:
        """The last word of a dotted name, such as that of an enumeration."""
        given = next((word.value for word in self._call.keywords if word.arg == which), None)
        return given.attr if isinstance(given, ast.Attribute) else ""

    def _read(self, node: ast.expr, seen: tuple[str, ...]) -> list[str]:
        match node:
            case ast.Constant():
                return [str(node.value)]
            case ast.JoinedStr():
                return [_joined(str(p.value) if isinstance(p, ast.Constant) else REST for p in node.values)]
            case ast.IfExp():
                return self._some([*self._read(node.body, seen), *self._read(node.orelse, seen)])
            case ast.BoolOp(op=ast.Or()):
                return self._some([text for value in node.values for text in self._read(value, seen)])
            case ast.BinOp(op=ast.Add()):
                left, right = self._read(node.left, seen), self._read(node.right, seen)
                return self._some([_joined([one, other]) for one in left for other in right])
            case ast.Name() if node.id in self._values and node.id not in seen:
                found = [text for value in self._values[node.id] for text in self._read(value, (*seen, node.id))]
                return self._some(found)
        return [REST]

    @staticmethod
    def _some(texts: list[str]) -> list[str]:
        unique = list(dict.fromkeys(text for text in texts if text))
        return unique if len(unique) <= MOST else [REST]


def _joined(pieces: Iterable[str]) -> str:
    text = "".join(pieces)
    while REST + REST in text:
        text = text.replace(REST + REST, REST)
    return text


def split(text: str, ends: tuple[str, ...]) -> tuple[str, str]:
    """What is wrong, and what to do: whatever stands behind the last of ``ends``, if it has words of its own."""
    for end in ends:
        said, found, rest = text.rpartition(end)
        if end == LIST and found:
            return said, f"use some of: {rest}"
        words = rest.replace(REST, "").split()
        if found and any(len(word) > 2 for word in words):
            return said + ("?" if end.startswith("?") else ""), rest
    return text, ""
