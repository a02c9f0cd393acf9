"""Carries out a plan on a backend, and says what could not be had.

One failure never stops the rest, with one exception: nothing that still protects is taken away. A policy is not
deleted in a round in which a policy that overlaps with it could not be put; a blackhole route stays in a round in
which any policy or route failed. Both go in a later round.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

from xfrmctl.kernel.desired import Actual, Desired, PolicyKey
from xfrmctl.kernel.plan import (
    ChangeDf,
    ClampOperation,
    DeletePolicy,
    DeleteRoute,
    InterfaceOperation,
    Operation,
    Plan,
    PolicyOperation,
    PutPolicy,
    RouteOperation,
    SetIcmpGuard,
    diff,
)
from xfrmctl.kernel.ports import ConvergeReport
from xfrmctl.model.errors import KernelRefusal, XfrmctlError

MAX_PROBLEMS = 50
"""A missing kernel module makes every one of 10,000 tunnels fail in the same way: nobody reads them all."""


class Backend(Protocol):
    """Something that holds policies, interfaces, routes and clamps: the kernel, or the fake."""

    def actual(self) -> Actual:
        """What stands and is ours."""

    def apply_policies(self, operations: Sequence[PolicyOperation]) -> list[tuple[PolicyOperation, str]]:
        """Carry out, in one batch; gives those that failed and why."""

    def apply_interfaces(self, operations: Sequence[InterfaceOperation]) -> list[str]:
        """Carry out, in one batch; gives problems."""

    def apply_routes(self, operations: Sequence[RouteOperation]) -> list[tuple[RouteOperation, str]]:
        """Carry out, in one batch; gives those that failed and why."""

    def apply_icmp(self, operations: Sequence[SetIcmpGuard]) -> list[str]:
        """Carry out; gives problems."""

    def apply_df(self, operations: Sequence[ChangeDf]) -> list[str]:
        """Carry out; gives problems."""

    def apply_clamps(self, operations: Sequence[ClampOperation]) -> list[str]:
        """Carry out; gives problems."""


def converge(backend: Backend, desired: Desired) -> ConvergeReport:
    """Read, compare, mend; where something went wrong, say so after a second look."""
    try:
        report = execute(backend, diff(backend.actual(), desired))
        if report.problems:
            rest = diff(backend.actual(), desired)
            if not rest:
                return ConvergeReport(report.applied)
        return report
    except XfrmctlError as error:
        return ConvergeReport(0, (str(error),))


def execute(backend: Backend, plan: Plan) -> ConvergeReport:
    """Carry out a plan, neighbours of one type in one batch."""
    problems: list[str] = []
    lost: list[PolicyKey] = []
    guard = True
    applied = 0
    for kind, group in groupby(plan.operations, key=type):
        operations = [o for o in group if not _still_needed(o, lost, guard)]
        applied += len(operations)
        try:
            if issubclass(kind, PolicyOperation):
                failed = backend.apply_policies([o for o in operations if isinstance(o, PolicyOperation)])
                problems += [text for _, text in failed]
                lost += [o.new.key for o, _ in failed if isinstance(o, PutPolicy)]
                guard = guard and not failed
            elif issubclass(kind, RouteOperation):
                bad = backend.apply_routes([o for o in operations if isinstance(o, RouteOperation)])
                problems += [text for _, text in bad]
                guard = guard and not bad
            elif issubclass(kind, InterfaceOperation):
                problems += backend.apply_interfaces([o for o in operations if isinstance(o, InterfaceOperation)])
            elif issubclass(kind, SetIcmpGuard):
                problems += backend.apply_icmp([o for o in operations if isinstance(o, SetIcmpGuard)])
            elif issubclass(kind, ChangeDf):
                problems += backend.apply_df([o for o in operations if isinstance(o, ChangeDf)])
            else:
                problems += backend.apply_clamps([o for o in operations if isinstance(o, ClampOperation)])
        except KernelRefusal as error:
            problems.append(str(error))
            guard = False
            lost += [o.new.key for o in operations if isinstance(o, PutPolicy)]
    return ConvergeReport(applied, _few(problems))


def _still_needed(operation: Operation, lost: Sequence[PolicyKey], guard: bool) -> bool:
    """Whether a deletion must wait, since what was to take its place is missing."""
    if isinstance(operation, DeletePolicy):
        return any(operation.old.key.overlaps(key) for key in lost)
    return isinstance(operation, DeleteRoute) and operation.old.device is None and not guard


def _few(problems: Sequence[str]) -> tuple[str, ...]:
    unique = tuple(dict.fromkeys(problems))
    if len(unique) <= MAX_PROBLEMS:
        return unique
    return (*unique[:MAX_PROBLEMS], f"and {len(unique) - MAX_PROBLEMS} more problems of this kind")
