#!/usr/bin/env python3
"""The catalogue of messages: everything that a user can be told when something is wrong, with its cause and its cure.

make docs-messages      write docs/messages.md

The messages stay where they are made, in the words that are shown; this is the index that joins them. It reads the
source: every construction of an error, a failure, a finding or a problem of a file is an entry. Cause and cure are the
fields of the message, the end of its text (``what; what to do``), or those of its class (``XfrmctlError.cause``,
``.cure``). ``faults`` names what has neither, and every class of error that the catalogue does not know.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.message_text import LIST, REST, Reader, literal, split  # noqa: E402
from xfrmctl.diagnose.catalogue import CATALOGUE  # noqa: E402

PAGE = ROOT / "docs" / "messages.md"
SOURCE = ROOT / "xfrmctl"


@dataclass(frozen=True)
class Kind:
    """How a message is made by calling ``name``.

    ``fields`` are where text, cause and cure stand: a position, a keyword, or None. ``own``: the text itself names the
    cure, behind one of ``ends``. ``within``: the parts of the program where this name means this. ``of``: the class of
    error that is handed on, where that is not ``name``; ``before``: what is said before the text; ``on``: only as a
    method of these.
    """

    name: str
    area: str
    fields: tuple[int | str | None, int | str | None, int | str | None]
    ends: tuple[str, ...] = ()
    within: str = ""
    of: str = ""
    before: int | None = None
    on: tuple[str, ...] = ()


NEGOTIATION, FILE, COMMAND, START, KERNEL, PEER, CAPTURE, LAB, FINDING = (
    "Negotiations",
    "The configuration file",
    "The command line and the control API",
    "The start of the daemon",
    "The kernel and the firewall",
    "What peers send",
    "Captures, rules and foreign configurations",
    "The lab",
    "Findings of `xfrmctl diagnose`",
)

AREAS = {
    NEGOTIATION: "`xfrmctl up` prints them, `show` and the status page keep the last one, the log and "
    "`xfrmctl_negotiation_failures_total` have each. With them come what we offered and what the peer offered.",
    FILE: "`xfrmctl check`, and a daemon that starts or reloads, tell all at once, each with file, line and key. "
    "What is wrong is the cause.",
    COMMAND: "On stderr, or with `--json` as `error.message` and `error.cure`; the control API says the same.",
    START: "The daemon ends with one of these where it cannot listen.",
    KERNEL: "In the log, and under *kernel* in `xfrmctl show`; the daemon goes on and tries again.",
    PEER: "A message of a peer, or of somebody who pretends to be one, that is dropped, counted by its reason, or the "
    "detail of a failure of a negotiation.",
    CAPTURE: "Of `xfrmctl trace`, `explain`, `diagnose` and `import`.",
    LAB: "Of `xfrmctl lab` and of the tests that run in it.",
    FINDING: "Symptom, evidence and ready lines for the peer's product come with each; "
    "[findings.md](findings.md) has the faults that prove them.",
}

KINDS = (
    Kind("Failure", NEGOTIATION, ("text", "cause", "cure")),
    Kind("_failure", NEGOTIATION, (1, 2, 3), within="ike/certificate_failures.py"),
    Kind("Wrong", FILE, (0, None, 1)),
    Kind("report", FILE, (1, None, 2), within="config/"),
    Kind("warn", FILE, (1, None, 2), within="config/"),
    Kind("problem", FILE, (1, None, 2), within="config/"),
    Kind("_whole", FILE, (1, None, 2), within="config/load.py"),
    Kind("ValueError", FILE, (0, None, None), (": ",), "model/identity.py"),
    Kind("ValueError", FILE, (0, None, None), (": ",), "model/selector.py"),
    Kind("SuiteError", FILE, (0, None, None), (LIST, ": ", "; ")),
    Kind("RequestError", COMMAND, (0, None, 1)),
    Kind("ControlError", COMMAND, (0, None, 1)),
    Kind("Unreachable", COMMAND, (0, None, 1)),
    Kind("NotRunning", COMMAND, (0, None, 1)),
    Kind("RequestRefused", COMMAND, (1, None, 2)),
    Kind("BadParameter", COMMAND, (0, None, None), ("; ", ": "), "cli/"),
    Kind("fail", COMMAND, (0, None, None), ("; ", ": "), "cli/"),
    Kind("ActionResult", COMMAND, ("message", None, None), ("; ",)),
    Kind("UnusableInput", COMMAND, (0, None, None), ("; ", ": ")),
    Kind("OutputError", COMMAND, (0, None, None), ("; ",)),
    Kind("KeyLogError", COMMAND, (0, None, None), ("; ",)),
    Kind("ListenError", START, (0, None, None), ("; ",)),
    Kind("EndpointError", START, (0, None, None), ("; ",)),
    Kind("PageError", START, (0, None, None), ("; ",)),
    Kind("SocketError", START, (0, None, None), ("? ",)),
    Kind("KernelRefusal", KERNEL, (2, None, None), (": ",)),
    Kind("FirewallError", KERNEL, (0, None, None), (": ", "; ")),
    Kind("append", KERNEL, (0, None, None), ("; ",), "kernel/", "FirewallError", on=("problems",)),
    Kind("append", KERNEL, (0, None, None), ("; ",), "daemon/", on=("faults", "problems")),
    Kind("KernelTrouble", KERNEL, ("problem", None, None), ("; ",)),
    Kind("warn", KERNEL, (0, None, None), ("; ",), "daemon/secret.py"),
    Kind("warning", KERNEL, (0, None, None), ("; ",), "daemon/"),
    Kind("error", KERNEL, (0, None, None), ("; ",), "daemon/"),
    Kind("exception", COMMAND, (0, None, None), ("; ",)),
    Kind("_error", COMMAND, (0, None, 1), within="control/server.py"),
    Kind("_refusal", COMMAND, (1, None, 2), within="page/"),
    Kind("WireError", PEER, (1, None, None), before=0),
    Kind("UnsupportedCritical", PEER, (None, None, None)),
    Kind("InvalidMajorVersion", PEER, (None, None, None)),
    Kind("IntegrityError", PEER, (0, None, None)),
    Kind("KeyExchangeError", PEER, (0, None, None)),
    Kind("CertificateError", PEER, (0, None, None)),
    Kind("CaptureError", CAPTURE, (2, None, None), (": ",)),
    Kind("RulesError", CAPTURE, (0, None, None)),
    Kind("ImportFault", CAPTURE, (1, None, 2)),
    Kind("TapError", CAPTURE, (0, None, None), (": ", "; ")),
    Kind("LabError", LAB, (0, None, None), ("; ",)),
    Kind("Finding", FINDING, ("symptom", "cause", "cure_here"), within="diagnose/"),
)

HARMLESS = frozenset({"REKEYED", "OPERATOR"})
"""Codes of failures that are none: they say why an SA has ended, in the log too, where a cure would be noise."""

ROOTS = frozenset({"XfrmctlError", "ConfigError"})
"""Never a message of their own: the root, and the list of all problems of a file."""


SPEAKERS = (
    (KERNEL, "model/tunnel.py", "recursion", ("; ",)),
    (KERNEL, "daemon/tunnelwatch.py", "_looping", ("; ",)),
)
"""Functions that make a message for others to say: what they return is one, with the ends of :class:`Kind`."""

OUTLETS = frozenset(
    {
        "cli/action.py",
        "cli/check.py",
        "cli/cleanup.py",
        "cli/import_config.py",
        "cli/outcome.py",
        "daemon/process.py",
        "lab/app.py",
        "lab/boot.py",
        "lab/play.py",
        "lab/probe.py",
    }
)
"""Where stderr is written to, and only with what an error, a problem or a result says."""

FRAME = frozenset({"xfrmctl", "warning", "daemon", "lab"})
"""Words that stand before what is said there."""

LOUD = frozenset({"warning", "warn", "error", "critical", "exception", "fatal"})
"""Methods of a logger whose lines are for people who have a problem."""

TABLES = (
    (KERNEL, "kernel/refusal.py", "KernelRefusal"),
    (KERNEL, "kernel/firewall/programs.py", "FirewallError"),
)
"""Where the words for what others say stand in a table: ``errno: "what: cure"``, or ``("what it says", "cure")``."""


@dataclass(frozen=True)
class Message:
    """One entry. ``where`` is file and line, for whoever mends it; ``key`` is a finding's id."""

    area: str
    where: str
    kind: str
    text: str
    cause: str
    cure: str
    key: str = ""


@dataclass(frozen=True)
class Class:
    """A class of error: what it is made from, and what it says of all its messages."""

    where: str
    bases: tuple[str, ...]
    cause: str
    cure: str


Trees = dict[str, ast.Module]


def trees(root: Path = SOURCE) -> Trees:
    """The program, by file name."""
    return {str(path.relative_to(root)): ast.parse(path.read_text()) for path in sorted(root.rglob("*.py"))}


def classes(source: Trees) -> dict[str, Class]:
    """Every class of error, that of the root first."""
    every: dict[str, Class] = {}
    for name, tree in source.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                said = {
                    target.id: literal(item.value)
                    for item in node.body
                    if isinstance(item, ast.Assign)
                    for target in item.targets
                    if isinstance(target, ast.Name)
                }
                bases = tuple(_last(base) for base in node.bases)
                every[node.name] = Class(f"{name}:{node.lineno}", bases, said.get("cause", ""), said.get("cure", ""))
    found = {"XfrmctlError": replace(every["XfrmctlError"], cause="", cure="")}
    grown = True
    while grown:
        new = {n: c for n, c in every.items() if n not in found and any(base in found for base in c.bases)}
        for name, error in new.items():
            above = next(found[base] for base in error.bases if base in found)
            found[name] = replace(error, cause=error.cause or above.cause, cure=error.cure or above.cure)
        grown = bool(new)
    return found


def messages(source: Trees) -> list[Message]:
    """Everything that can be said."""
    known = classes(source)
    found: list[Message] = []
    for name, tree in source.items():
        for function, call in _calls(tree):
            for kind in KINDS:
                if kind.name == _name(call) and name.startswith(kind.within) and (not kind.on or _on(call) in kind.on):
                    error = known.get(kind.of or kind.name)
                    found += _read(kind, f"{name}:{call.lineno}", Reader(function, call), error)
    for area, name, function_name, ends in SPEAKERS:
        found += _spoken(source.get(name), area, name, function_name, ends)
    for area, name, error_name in TABLES:
        found += _table_of(source.get(name), area, name, error_name, known.get(error_name))
    return found


def _table_of(tree: ast.Module | None, area: str, name: str, kind: str, error: Class | None) -> Iterator[Message]:
    """The entries of a table of words."""
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Dict):
            words = [value for key, value in zip(node.keys, node.values, strict=True) if isinstance(key, ast.Name)]
            pairs = [(value.lineno, *split(Reader.text(value), (": ",))) for value in words]
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and all(map(literal, node.elts)):
            pairs = [(node.lineno, literal(node.elts[0]), literal(node.elts[1]))]
        else:
            continue
        for line, said, cure in pairs:
            cause, rest = (error.cause, error.cure) if error else ("", "")
            yield Message(area, f"{name}:{line}", kind, said, cause, cure or rest)


def _spoken(
    tree: ast.Module | None, area: str, name: str, function_name: str, ends: tuple[str, ...]
) -> Iterator[Message]:
    """What a function returns."""
    for function in ast.walk(tree) if tree is not None else ():
        if isinstance(function, ast.FunctionDef) and function.name == function_name:
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    said, cure = split(Reader.text(node.value), ends)
                    if said.endswith(f"; {REST}"):
                        continue  # the rest of it is an entry of its own
                    yield Message(area, f"{name}:{node.lineno}", function_name, said, "", cure)


def _on(call: ast.Call) -> str:
    """What a method is called on: its last word."""
    value = call.func.value if isinstance(call.func, ast.Attribute) else None
    return (
        value.id if isinstance(value, ast.Name) else value.attr.lstrip("_") if isinstance(value, ast.Attribute) else ""
    )


def _calls(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.Call]]:
    """Every call with the function that it stands in."""

    def walk(node: ast.AST, function: ast.AST) -> Iterator[tuple[ast.AST, ast.Call]]:
        for child in ast.iter_child_nodes(node):
            inside = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            if isinstance(child, ast.Call):
                yield inside, child
            yield from walk(child, inside)

    return walk(tree, tree)


def _name(call: ast.Call) -> str:
    return _last(call.func)


def _last(node: ast.expr) -> str:
    """The last word of a name, whatever stands before it."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _read(kind: Kind, where: str, reader: Reader, error: Class | None) -> Iterator[Message]:
    texts, causes, cures = (reader.field(field) for field in kind.fields)
    if kind.name == "ActionResult" and reader.field("ok") != ["False"]:
        return
    cause, cure = " / ".join(causes), " / ".join(cures)
    if reader.word("code") in HARMLESS:
        cause, cure = cause or "it was asked for, or is as it should be", cure or "nothing is to be done"
    key = "".join(reader.field(0) or reader.field("id")) if kind.area == FINDING else ""
    for text in texts or ([""] if error is not None else []):
        if not any(c.isalpha() for c in text) and kind.fields[0] is not None:
            continue  # hands on what somebody else has said, who is here as well
        whole = ": ".join([*reader.field(kind.before), text])
        said, own = split(whole, kind.ends) if kind.ends else (whole, "")
        yield Message(
            kind.area,
            where,
            kind.name,
            said or {"UnsupportedCritical": "payload type …", "InvalidMajorVersion": "major version …"}[kind.name],
            cause or (error.cause if error else ""),
            cure or own or (error.cure if error else ""),
            key,
        )


def faults(source: Trees) -> list[str]:
    """What a user could be told without being told what to do; and errors that nobody has entered."""
    wrong = []
    entered = {kind.name for kind in KINDS} | ROOTS
    for name, error in classes(source).items():
        if name not in entered:
            wrong.append(f"{error.where}: {name} is an error that is not in the catalogue: tools/messages.py, KINDS")
    for message in messages(source):
        if not message.cure:
            wrong.append(f"{message.where}: no cure: {message.kind}: {message.text}")
        if not message.cause and message.area in (NEGOTIATION, FINDING, PEER, LAB):
            wrong.append(f"{message.where}: no cause: {message.kind}: {message.text}")
        if message.area == NEGOTIATION and "failures.py" not in message.where:
            wrong.append(f"{message.where}: a Failure is made in ike/*failures.py, nowhere else")
    return [*wrong, *(fault for name, tree in source.items() for fault in _unread(name, tree, entered))]


def _unread(name: str, tree: ast.Module, entered: frozenset[str] | set[str]) -> Iterator[str]:
    """Ways around the catalogue: what is told to somebody without being an entry of it."""
    speakers = {function for _, _, function, _ in SPEAKERS} | {"str"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name in entered and alias.asname not in (None, alias.name):
                    yield f"{name}:{node.lineno}: {alias.name} goes by another name: the catalogue does not know it"
    for function, call in _calls(tree):
        where, said = f"{name}:{call.lineno}", _name(call)
        if said in ("print", "echo", "secho", "write") and _is_stderr(call):
            words = set(re.findall(r"[a-z]{3,}", " ".join(Reader(function, call).field(0)).lower()))
            if name not in OUTLETS or not words <= FRAME:
                yield f"{where}: words of its own on stderr: raise an error that is in the catalogue"
        elif said in ("SystemExit", "exit") and any(map(literal, call.args)):
            yield f"{where}: an end with words of its own: raise an error that is in the catalogue"
        elif said in LOUD and _on(call).lower().endswith(("log", "logger")) and not _entered(name, call):
            yield f"{where}: a log line {said} that is not in the catalogue: tools/messages.py, KINDS"
        elif name.startswith(("daemon/", "kernel/")) and (
            said == "KernelTrouble" or (said == "append" and _on(call) in ("problems", "faults"))
        ):
            given = call.keywords[0].value if call.keywords else call.args[0]
            if isinstance(given, ast.Call) and _name(given) not in speakers:
                yield f"{where}: what {_name(given)} returns is not in the catalogue: tools/messages.py, SPEAKERS"


def _is_stderr(call: ast.Call) -> bool:
    """Whether a call writes to stderr."""
    words = {word.arg: word.value for word in call.keywords}
    to, error = words.get("file"), words.get("err")
    on = call.func.value if isinstance(call.func, ast.Attribute) else None
    return (
        (to is not None and _last(to) == "stderr")
        or (isinstance(error, ast.Constant) and bool(error.value))
        or (on is not None and _last(on) == "stderr")
    )


def _entered(name: str, call: ast.Call) -> bool:
    """Whether a call is an entry of the catalogue."""
    return any(kind.name == _name(call) and name.startswith(kind.within) for kind in KINDS)


# ---- the page ---------------------------------------------------------------------------------------------------

MANY = 5

HEAD = """\
# Messages

<!-- Generated by `make docs-messages` from the source. Do not edit. -->

Whatever xfrmctl says when something is wrong, with its cause and its cure. `…` stands for a name, a number or a word of
the moment. A test fails when code can say something that is not here, or that has no cure. An *internal error* is none
of these: it is a fault of xfrmctl's, its traceback is in the log, and it wants to be reported.
"""


def page(found: list[Message]) -> str:
    """The whole page."""
    lines = [HEAD]
    for area, said in AREAS.items():
        lines += [f"## {area}", "", said, ""]
        lines += _findings(found) if area == FINDING else _table([m for m in found if m.area == area])
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _table(found: list[Message]) -> list[str]:
    """A table; those with one cause and one cure, given by their class, as a list."""
    together: dict[tuple[str, str], set[str]] = {}
    for message in found:
        together.setdefault((message.cause, message.cure), set()).add(message.text)
    rows = sorted((text, *pair) for pair, texts in together.items() if len(texts) < MANY for text in texts)
    lines: list[str] = []
    if rows:
        causes = any(cause for _, cause, _ in rows)
        lines += ["| message | cause | cure |", "|---|---|---|"] if causes else ["| message | cure |", "|---|---|"]
        lines += [_row(row if causes else (row[0], row[2])) for row in rows]
    for (cause, cure), texts in together.items():
        if len(texts) >= MANY:
            lines += ["", *([f"Cause: {cause}.", ""] if cause else []), f"Cure: {cure}.", ""]
            lines += [f"- {_cell(text)}" for text in sorted(texts)]
    return lines


def _findings(found: list[Message]) -> list[str]:
    by_key: dict[str, Message] = {}
    for message in found:
        if message.area == FINDING and message.key in CATALOGUE:
            by_key.setdefault(message.key, message)
    rows = []
    for key, what in CATALOGUE.items():
        known = by_key.get(key)
        told = (known.cause, known.cure) if known else ("depends on what was seen: its text says it", "the same")
        rows.append(_row((f"`{key}`: {what}", *told)))
    return ["| finding | cause | cure here |", "|---|---|---|", *rows]


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


if __name__ == "__main__":
    everything = trees()
    print("\n".join(faults(everything)), file=sys.stderr)
    PAGE.write_text(page(messages(everything)))
