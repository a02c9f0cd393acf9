"""A tree -> YAML as a person would write it: comments say where each value comes from. Nothing in it is trusted."""

import json
import re
from collections.abc import Sequence

from xfrmctl.importers.mapping.draft import FileValue, Scalar, Tree, Value, Written
from xfrmctl.importers.origin import one_line, printable

COLUMN = 60
WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./:*@+=-]*")
_WORDS = ("true", "false", "null", "~", "yes", "no", "on", "off")


def render(tree: Tree, head: Sequence[str], base: str) -> str:
    """The file; ``head`` is the comment at its top. Files beneath ``base`` are called by their names from there on."""
    lines = [f"# {one_line(line)}".rstrip() for line in head]
    lines += _mapping(tree, 0, f"{base}/")
    return "\n".join(lines) + "\n"


def _mapping(tree: Tree, depth: int, base: str) -> list[str]:
    lines: list[str] = []
    margin = "  " * depth
    for name, inner in tree.items():
        key = f"{margin}{_quoted(name, key=True)}:"
        if isinstance(inner, Written):
            lines += _leaf(key, inner, depth, base)
        else:
            lines += [key, *_mapping(inner, depth + 1, base)] if inner else [f"{key} {{}}"]
    return lines


def _leaf(key: str, leaf: Written, depth: int, base: str) -> list[str]:
    comment = printable(leaf.comment.removeprefix(base))
    if isinstance(leaf.value, list):
        flow = f"{key} [{', '.join(_quoted(item) for item in leaf.value)}]"
        if len(flow) > WIDTH and len(leaf.value) > 1:
            margin = "  " * (depth + 1)
            return [_with(key, comment), *(f"{margin}- {_quoted(item)}" for item in leaf.value)]
        return [_with(flow, comment)]
    return [_with(f"{key} {_scalar(leaf.value)}", comment)]


def _with(text: str, comment: str) -> str:
    return f"{text:<{COLUMN}}  # {comment}" if comment else text


def _scalar(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case FileValue():
            return f"!file {_quoted(value.path)}"
        case str():
            return _quoted(value)
    raise TypeError(value)


def _quoted(value: Scalar, *, key: bool = False) -> str:
    """Plain where nobody could read anything else in it; our own words for off and on are words to our reader."""
    text = str(value)
    words = _WORDS if key else ("true", "false", "null", "~")
    number = re.fullmatch(r"-?[0-9]+(\.[0-9]*)?([eE].*)?|0[xob].*|[0-9]+(:[0-9]+)+", text)
    if _PLAIN.fullmatch(text) and text not in words and not text.endswith(":") and not number:
        return text
    return json.dumps(text, ensure_ascii=True)
