#!/usr/bin/env python3
"""The manual pages, from the command's own help and the configuration's schema.

make docs-man           write man/xfrmctl.8 and man/xfrmctl.yaml.5

What a verb does is its docstring, what an option does its help text (``xfrmctl/cli``, ``xfrmctl/lab/app.py``).
"""

import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from typer.models import ArgumentInfo, OptionInfo

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.config_reference import Section, sections  # noqa: E402
from xfrmctl.cli import main, outcome, session  # noqa: E402
from xfrmctl.config.jsonschema import annotated_schema  # noqa: E402
from xfrmctl.lab import app as lab  # noqa: E402

PLACE = ROOT / "man"
COMMAND, FILE = "xfrmctl.8", "xfrmctl.yaml.5"
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_EXAMPLE = re.compile(r"Examples?:\s*")


@dataclass(frozen=True)
class Parameter:
    """One argument or option of a verb; ``value`` is empty for a switch."""

    names: tuple[str, ...]
    value: str
    help: str
    default: str
    required: bool
    argument: bool


@dataclass(frozen=True)
class Verb:
    """One verb: its paragraphs, its examples, its parameters."""

    name: str
    text: tuple[str, ...]
    examples: tuple[str, ...]
    parameters: tuple[Parameter, ...]


def verbs() -> list[Verb]:
    """Every verb, those of the lab last."""
    return [*_verbs(main.app, ""), *_verbs(lab.app, "lab ")]


def _verbs(app: typer.Typer, prefix: str) -> Iterator[Verb]:
    if prefix and app.registered_callback and app.registered_callback.callback:
        yield read(prefix.strip(), app.registered_callback.callback)
    for command in app.registered_commands:
        if command.callback is not None:
            yield read(prefix + (command.name or command.callback.__name__), command.callback)


def read(name: str, function: Callable[..., Any]) -> Verb:
    """A verb as its function tells it."""
    paragraphs = [" ".join(part.split()) for part in (inspect.getdoc(function) or "").split("\n\n")]
    text = [part for part in paragraphs if not _EXAMPLE.match(part)]
    examples: list[str] = []
    for part in paragraphs:
        if _EXAMPLE.match(part):
            examples += _SPAN.findall(part) or [_EXAMPLE.sub("", part)]
    found = inspect.signature(function).parameters.values()
    parameters = tuple(p for p in map(_parameter, found) if p is not None)
    return Verb(name, tuple(text), tuple(examples), parameters)


def _parameter(found: inspect.Parameter) -> Parameter | None:
    if not hasattr(found.annotation, "__metadata__"):
        return None
    kind, told = typing.get_args(found.annotation)[:2]
    if not isinstance(told, ArgumentInfo | OptionInfo):
        return None
    argument = isinstance(told, ArgumentInfo)
    name = found.name.replace("_", "-")
    spelled = [word for word in (told.default, *(told.param_decls or ())) if isinstance(word, str)]
    names = (told.metavar or name.upper(),) if argument else tuple(spelled or [f"--{name}"])
    required = found.default is inspect.Parameter.empty
    default = "" if required or found.default in (None, False, "") else found.default
    shown = f"{default:g}" if isinstance(default, float) else str(getattr(default, "value", default))
    return Parameter(names, "" if argument else _value(kind, told), str(told.help or ""), shown, required, argument)


def _value(kind: Any, told: ArgumentInfo | OptionInfo) -> str:
    kinds = [k for k in typing.get_args(kind) or (kind,) if k is not type(None)]
    if told.metavar:
        return told.metavar
    if isinstance(kinds[0], type) and issubclass(kinds[0], Enum):
        return "|".join(str(word.value) for word in kinds[0])
    return {bool: "", int: "NUMBER", float: "NUMBER", Path: "PATH"}.get(kinds[0], "TEXT")


# ---- man(7) ---------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """A line as it is typed."""
    return _safe(_typed(text))


def _typed(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")


def _prose(text: str) -> str:
    """Prose with code in bold, in lines that are not too long; hyphens of words stay hyphens."""
    parts = _SPAN.split(_LINK.sub(r"\1", text).replace("**", ""))
    marked = "".join(f"\\fB{_typed(part)}\\fP" if number % 2 else _said(part) for number, part in enumerate(parts))
    lines = textwrap.wrap(marked, 79, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(_safe, lines))


def _said(text: str) -> str:
    return text.replace("\\", "\\e").replace("…", "...").replace("--", "\\-\\-")


def _safe(line: str) -> str:
    """A line that roff does not take for a request."""
    return "\\&" + line if line.startswith((".", "'")) else line


def _head(title: str, section: int, name: str, what: str) -> list[str]:
    return [
        f'.\\" Generated by "make docs-man" from the {what}. Do not edit.',
        f'.TH {title} {section} "" xfrmctl',
        ".SH NAME",
        name,
    ]


def _usage(verb: Verb) -> str:
    words = [f"\\fBxfrmctl {_plain(verb.name)}\\fP"]
    if any(not p.argument for p in verb.parameters):
        words.append("[\\fIOPTIONS\\fP]")
    for parameter in (p for p in verb.parameters if p.argument):
        name = f"\\fI{_plain(parameter.names[0])}\\fP"
        words.append(name if parameter.required else f"[{name}]")
    return " ".join(words)


def _term(parameter: Parameter) -> str:
    if parameter.argument:
        return f"\\fI{_plain(parameter.names[0])}\\fP"
    names = ", ".join(f"\\fB{_plain(name)}\\fP" for name in parameter.names)
    return names + (f" \\fI{_plain(parameter.value)}\\fP" if parameter.value else "")


def _list(parameters: tuple[Parameter, ...]) -> Iterator[str]:
    for parameter in parameters:
        yield ".TP"
        yield _term(parameter)
        default = f" Default: `{parameter.default}`." if parameter.default else ""
        yield _prose(parameter.help + default)


def _verb(verb: Verb) -> Iterator[str]:
    yield f".SS {_plain(verb.name)}"
    yield _usage(verb)
    for paragraph in verb.text:
        yield ".PP"
        yield _prose(paragraph)
    yield from _list(verb.parameters)
    if verb.examples:
        yield ".PP"
        yield "Example:" if len(verb.examples) == 1 else "Examples:"
        yield from _code(verb.examples)


def _code(lines: tuple[str, ...]) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".nf", *map(_plain, lines), ".fi", ".RE")


def command_page() -> str:
    """xfrmctl(8)."""
    root = read("", main.options)
    lines = _head("XFRMCTL", 8, "xfrmctl \\- IPsec gateway controller for Linux XFRM", "command's own help")
    lines += [".SH SYNOPSIS", "\\fBxfrmctl\\fP [\\fIOPTIONS\\fP] \\fIVERB\\fP [\\fIARGUMENTS\\fP]"]
    lines += [".br", "\\fBxfrmctl\\fP \\fIVERB\\fP \\fB\\-\\-help\\fP"]
    lines += [".SH DESCRIPTION", *_DESCRIPTION, ".SH OPTIONS", *_list(root.parameters)]
    lines += [".TP", "\\fB\\-\\-show\\-completion\\fP, \\fB\\-\\-install\\-completion\\fP"]
    lines += ["Completion of verbs, options and names of connections for the shell that is in use."]
    lines += [".TP", "\\fB\\-h\\fP, \\fB\\-\\-help\\fP", "Help, of one verb or of all.", ".SH COMMANDS"]
    for verb in verbs():
        lines += _verb(verb)
    lines += [".SH EXIT STATUS"]
    for code, meaning in re.findall(r"([0-9]) ([^;.]+)[;.]", outcome.HELP):
        lines += [".TP", f"\\fB{code}\\fP", _prose(meaning[0].upper() + meaning[1:]) + "."]
    lines += [".SH ENVIRONMENT", ".TP", "\\fBXFRMCTL_CONTROL\\fP", "The control socket, as \\fB\\-\\-control\\fP."]
    lines += [".SH FILES"]
    for path, what in (
        (session.DEFAULT_CONFIG, "The configuration: see \\fBxfrmctl.yaml\\fP(5)."),
        (session.DEFAULT_CONTROL, "The control socket: HTTP and JSON, for \\fBcurl \\-\\-unix\\-socket\\fP too."),
        (session.DEFAULT_STATE, "What must outlive a crash of the daemon."),
    ):
        lines += [".TP", f"\\fI{_plain(str(path))}\\fP", what]
    lines += [".SH SEE ALSO", "\\fBxfrmctl.yaml\\fP(5), \\fBip\\-xfrm\\fP(8), \\fBiptables\\fP(8)"]
    return "\n".join(lines) + "\n"


_DESCRIPTION = (
    "One daemon per gateway (\\fBxfrmctl daemon\\fP) speaks IKEv2 to peers, keeps the kernel's SAs, policies, routes",
    "and TCP MSS clamps as the configuration wants them, and finds the path MTU to each peer by itself.",
    "The other verbs ask that daemon over its control socket, or work without one.",
    ".PP",
    "A new gateway: write the configuration, \\fBxfrmctl check\\fP, start the daemon, \\fBxfrmctl show\\fP.",
    "Something is wrong: \\fBxfrmctl diagnose\\fP.",
)


def file_page() -> str:
    """xfrmctl.yaml(5)."""
    lines = _head("XFRMCTL.YAML", 5, "xfrmctl.yaml \\- configuration of xfrmctl(8)", "configuration's schema")
    lines += [".SH DESCRIPTION", *_FILE]
    example = (ROOT / "docs" / "examples" / "site-to-site.yaml").read_text().splitlines()
    start = next(number for number, line in enumerate(example) if not line.startswith("#"))
    lines += [".SH EXAMPLE", *list(_code(tuple(line for line in example[start:] if line.strip())))[1:]]
    lines += [".SH KEYS"]
    for section in sections(annotated_schema()):
        lines += _section(section)
    lines += [".SH SEE ALSO", "\\fBxfrmctl\\fP(8)"]
    return "\n".join(lines) + "\n"


_FILE = (
    "One YAML file. \\fBxfrmctl check\\fP tells every problem with file, line, key, cause and cure.",
    "\\fBxfrmctl plan\\fP shows what a reload would change, SIGHUP or \\fBxfrmctl reload\\fP puts it in force.",
    "Paths start at the directory of the file. Durations have a unit (500ms, 30s, 5m, 4h, 1d).",
    "A key that is not here is an error.",
)


def _section(section: Section) -> Iterator[str]:
    yield f".SS {_plain(section.path)}"
    if section.meaning:
        yield _prose(section.meaning)
    for key in section.keys:
        yield ".TP"
        value = _prose(key.value.replace("`", ""))
        yield f"\\fB{_plain(key.name)}\\fP: {value}" + (f" [{_prose(key.default)}]" if key.default else "")
        yield _prose(key.meaning + (f" See {key.section}." if key.section else ""))


PAGES: dict[str, Callable[[], str]] = {COMMAND: command_page, FILE: file_page}


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    for filename, write in PAGES.items():
        (PLACE / filename).write_text(write())
