"""The way from a file of theirs to a directory of ours: read, map, write, check, report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xfrmctl.config.load import loads
from xfrmctl.config.problem import ConfigError, Problem
from xfrmctl.importers.detect import Dialect, dialect_of
from xfrmctl.importers.dialects import libreswan, strongswan, swanctl, vyos
from xfrmctl.importers.dialects.source import Source
from xfrmctl.importers.files import Files
from xfrmctl.importers.mapping.plan import Result, convert
from xfrmctl.importers.neutral import Plan
from xfrmctl.importers.report import Fate, Report
from xfrmctl.importers.write.bundle import CONFIG, REPORT, Bundle
from xfrmctl.importers.write.yaml import render
from xfrmctl.model.address import IPAddress

_TITLES = {
    Dialect.SWANCTL: "swanctl.conf of strongSwan",
    Dialect.STRONGSWAN: "ipsec.conf of strongSwan",
    Dialect.LIBRESWAN: "ipsec.conf of libreswan",
    Dialect.VYOS: "vpn ipsec of VyOS",
}


READERS: Mapping[Dialect, Callable[[Source], Plan]] = {
    Dialect.SWANCTL: swanctl.read,
    Dialect.STRONGSWAN: strongswan.read,
    Dialect.LIBRESWAN: libreswan.read,
    Dialect.VYOS: vyos.read,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be imported, and where to.

    ``dialect`` None finds out. ``root`` is where absolute paths start, ``follow`` where includes may lead beside the
    directory of the file. ``ours`` are addresses of the gateway that the file is for. ``target`` None only tries.
    """

    file: Path
    dialect: Dialect | None = None
    root: Path | None = None
    follow: Sequence[Path] = ()
    secrets: Path | None = None
    ours: frozenset[IPAddress] = frozenset()
    target: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of it. ``text`` is the configuration; ``problems`` is what `xfrmctl check` finds in it."""

    dialect: Dialect
    text: str
    report: Report
    connections: int = 0
    children: int = 0
    left_out: Sequence[str] = ()
    problems: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()
    files: Sequence[str] = field(default_factory=tuple)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be decided."""
        return not self.problems and not self.report.count(Fate.DECIDE)


def run(request: Request) -> Imported:
    """Import. Raises UnusableInput for files that cannot be read, and for a target that is there already."""
    files = Files(request.file, request.root, request.follow)
    dialect = request.dialect or dialect_of(files.text(request.file), request.file.name)
    report = Report()
    source = Source(files, report, request.ours, request.secrets)
    result = convert(READERS[dialect](source), report)
    for refused in files.refused:
        todo = "name its directory with --follow, or the root of the copy with --root"
        option = f"include {refused.pattern}"
        report.tell(Fate.DECIDE, None, option=f"{refused.place}: {option}", why=refused.why, todo=todo)
    with Bundle(request.target) as bundle:
        done = _written(bundle, dialect, request, result, report)
        bundle.keep()
    return done


def _written(bundle: Bundle, dialect: Dialect, request: Request, result: Result, report: Report) -> Imported:
    text = render(result.tree, _head(dialect, request.file, result), str(request.file.parent))
    bundle.write({CONFIG: text.encode(), **result.files})
    problems: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()
    connections = children = 0
    try:
        found = loads(text, bundle.config)
        warnings = found.warnings
        connections = len(found.engine.connections)
        children = sum(len(c.children) for c in found.engine.connections.values())
    except ConfigError as error:
        problems = error.problems
        if not result.tree:
            why, todo = "no connection and no policy is taken over", "below is why, connection by connection"
            report.tell(Fate.DECIDE, None, option=f"all of {request.file.name}", why=why, todo=todo)
        for problem in problems if result.tree else ():
            where = f"{CONFIG}:{problem.line}: {problem.key}"
            report.tell(
                Fate.DECIDE, None, option=where, why=_here(problem.cause, bundle), todo=_here(problem.cure, bundle)
            )
    bundle.write({REPORT: (_summary(dialect, request.file, report) + report.text()).encode()})
    return Imported(
        dialect=dialect,
        text=text,
        report=report,
        connections=connections,
        children=children,
        left_out=result.left_out,
        problems=problems,
        warnings=warnings,
        files=sorted((CONFIG, REPORT, *result.files)),
    )


def _here(text: str, bundle: Bundle) -> str:
    """A message without the name that the directory has only while it is made."""
    return text.replace(f"{bundle.directory}/", "")


def _head(dialect: Dialect, file: Path, result: Result) -> list[str]:
    lines = [
        f"Made by `xfrmctl import` from {file} ({_TITLES[dialect]}).",
        f"Behind each value: the line that it comes from. {REPORT} tells what became of every option.",
    ]
    return lines + [f"Left out: {name}" for name in result.left_out]


def _summary(dialect: Dialect, file: Path, report: Report) -> str:
    counts = ", ".join(f"{report.count(fate)} {fate.value}" for fate in Fate)
    return f"Import of {file} ({_TITLES[dialect]}): {counts}\n\n"
