"""Tries cells in order; a tunnel that the next cell can go on with is kept.

Of each cell: the event happens while TCP runs both ways, and the seconds are measured until it goes on; then, what our
gateways take the path to carry, and whether datagrams of exactly these sizes pass.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.lab.blackhole import rules
from tests.lab.blackhole.cells import COMPARISON, Cell
from tests.lab.blackhole.site import AGING_S, Site, far, sink, until
from tests.lab.blackhole.witness import Datagrams, Trickle

ANEW_S = 1.0
"""A connection that does not get anywhere is made anew after so long, as people and programs do."""

BEFORE_S, FIGURE_S = 5.0, 15.0
"""Long enough for TCP to begin on a path that carries it, and for whatever is found at all."""

LOOK_S = 0.1
"""How often gateways are asked for their figures, which is most of what the waiting costs."""

IN_FLOW_S = 1.5
"""How long TCP runs before the event: a flow that has just begun is not yet seen as one."""

LATE = 3
"""TCP is waited for so many times as long as it may take: to know whether it is late, or dead."""


@dataclass(slots=True)
class Result:
    """What came of a cell. ``missed`` are the witnesses that failed, with what was found instead."""

    id: str
    missed: list[str] = field(default_factory=list)
    #: TCP that went on, but later than it must.
    late: list[str] = field(default_factory=list)
    #: Seconds until TCP went on, by direction; None where it did not.
    tcp_s: list[float | None] = field(default_factory=list)
    #: Seconds until our gateways had the figure.
    figure_s: float | None = None
    took_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the cell has shown all that it must."""
        return not self.missed and not self.late

    def as_json(self) -> dict[str, Any]:
        """One line of the results file."""
        return {
            "id": self.id,
            "missed": self.missed,
            "late": self.late,
            "tcp_s": [None if s is None else round(s, 2) for s in self.tcp_s],
            "figure_s": None if self.figure_s is None else round(self.figure_s, 2),
            "took_s": round(self.took_s, 1),
        }


class Walk:
    """Cells of one site, one after the other."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._last: Cell | None = None

    def try_cell(self, cell: Cell) -> Result:
        """Make the cell's event happen, and see what comes of it."""
        began, result = time.monotonic(), Result(cell.id)
        try:
            with ExitStack() as stack:
                flows = self._event(cell, stack, result)
                self._tcp(cell, flows, result)
                self._figure(cell, flows, result)
            self._site.forget("ha", "hb")
            for direction in (0, 1):
                self._datagrams(cell, direction, result)
        finally:
            self._last = cell if not result.missed else None
        result.took_s = time.monotonic() - began
        return result

    def try_for_sure(self, cell: Cell) -> Result:
        """Once more where TCP was late and nothing else was wrong, for the machine may have been busy."""
        result = self.try_cell(cell)
        return self.try_cell(cell) if result.late and not result.missed else result

    def log_tail(self) -> str:
        """The end of what the gateways have logged."""
        return self._site.ends.log_tail()

    # -- the event

    def _event(self, cell: Cell, stack: ExitStack, result: Result) -> "_Flows":
        site = self._site
        if cell.before is None:
            site.begin(cell, cell.after)
            self._forge(cell)
        elif self._goes_on(cell):
            site.links(cell.link)
            site.path(int(cell.outer), cell.before)
            site.forget("ha", "hb", *_foreign_gateways(cell))
        else:
            site.begin(cell, cell.before)
        if cell.before is not None and cell.ends != COMPARISON:
            before = cell.before
            if until(lambda: self._found(cell, before), FIGURE_S, LOOK_S) is None:
                result.missed.append(f"before the event: {self._shown()}")
        flows = stack.enter_context(_Flows(site, cell))
        if cell.before is not None:
            if not flows.begun(BEFORE_S):
                result.missed.append("before the event: no TCP")
            time.sleep(IN_FLOW_S)
            self._forge(cell)
        began = time.monotonic()
        site.path(int(cell.outer), cell.after)
        flows.mark(began)
        self._forge(cell)
        return flows

    def _goes_on(self, cell: Cell) -> bool:
        last = self._last
        return (
            last is not None
            and (last.tunnel, last.icmp, last.link) == (cell.tunnel, cell.icmp, cell.link)
            and last.after == cell.before
        )

    def _forge(self, cell: Cell) -> None:
        if cell.icmp in ("forged", "fragments"):
            site = self._site
            site.weather.forge(cell.icmp, site.near, far(cell))
            if not rules.foreign(cell, 1):
                site.weather.forge(cell.icmp, far(cell), site.near)

    # -- what comes of it

    def _tcp(self, cell: Cell, flows: "_Flows", result: Result) -> None:
        limit = rules.limit_s(cell)
        needed = [any(rules.excused(cell, kind, way) is None for kind in ("flow", "fresh")) for way in (0, 1)]
        result.tcp_s = flows.go_on(LATE * limit, needed)
        for direction, seconds in enumerate(result.tcp_s):
            if not needed[direction]:
                continue
            kind = "flow" if rules.excused(cell, "flow", direction) is None else "fresh"
            if seconds is None:
                result.missed.append(f"{kind}{direction}: not within {LATE * limit:.0f} s")
            elif seconds > limit:
                result.late.append(f"{kind}{direction}: {seconds:.1f} s")
        self._forge(cell)

    def _figure(self, cell: Cell, flows: "_Flows", result: Result) -> None:
        if cell.ends == COMPARISON:
            return
        began = time.monotonic()
        while not self._found(cell, cell.after):
            if time.monotonic() - began > FIGURE_S + AGING_S:
                result.missed.append(f"figure: {self._shown()}")
                return
            flows.renew()
            time.sleep(LOOK_S)
        result.figure_s = flows.since_event

    def _found(self, cell: Cell, path: int) -> bool:
        figures = self._site.ends.figures()
        wanted = (path, cell.exact_for(path), "probe")
        return bool(figures) and all((f.outer_mtu, f.inner_mtu, f.source) == wanted for f in figures)

    def _shown(self) -> str:
        return ", ".join(f"{f.outer_mtu} outer, {f.inner_mtu} inner ({f.source})" for f in self._site.ends.figures())

    def _datagrams(self, cell: Cell, direction: int, result: Result) -> None:
        source, target = self._site.hosts(direction)
        with Datagrams(source, target, sink(cell, direction)) as datagrams:
            size, whole = rules.largest(cell, direction), not rules.rescued(cell, direction)
            looks: dict[str, Callable[[], str | None]] = {
                "exact": partial(datagrams.with_df, size, and_no_more=whole),
                "large": partial(datagrams.without_df, cell.link),
                "told": partial(datagrams.told, cell.link, size),
            }
            for witness, look in looks.items():
                if rules.excused(cell, witness, direction) is None and (wrong := look()):
                    result.missed.append(f"{witness}{direction}: {wrong}")


def _foreign_gateways(cell: Cell) -> list[str]:
    """Those whose kernels remember errors; of ours that is part of what is tested."""
    return {"ours": [], COMPARISON: ["ga", "gb"]}.get(cell.ends, ["gb"])


class _Flows:
    """TCP both ways; where a connection need not survive, it is made anew until one gets somewhere."""

    def __init__(self, site: Site, cell: Cell) -> None:
        self._site, self._cell = site, cell
        self._stack = ExitStack()
        self._flows = [self._open(direction) for direction in (0, 1)]
        self._marks = [0, 0]
        self._began = self._renewed = time.monotonic()
        self.found: list[float | None] = [None, None]

    def __enter__(self) -> "_Flows":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, direction: int) -> Trickle:
        source, target = self._site.hosts(direction)
        return self._stack.enter_context(Trickle(source, target, sink(self._cell, direction)))

    def begun(self, within_s: float) -> bool:
        """Whether each has carried something."""
        deadline = time.monotonic() + within_s
        return all(flow.carried(0, deadline - time.monotonic()) is not None for flow in self._flows)

    def mark(self, began: float) -> None:
        """The event was at ``began``: what has been sent until now does not count."""
        self._began = self._renewed = began
        self._marks = [flow.sent for flow in self._flows]

    def go_on(self, within_s: float, needed: list[bool]) -> list[float | None]:
        """Seconds from the event until data sent after it have arrived, by direction; some need not."""
        while self.since_event <= within_s and any(
            need and seconds is None for need, seconds in zip(needed, self.found, strict=True)
        ):
            self.renew()
            time.sleep(0.01)
        return list(self.found)

    @property
    def since_event(self) -> float:
        """Seconds since :meth:`mark`."""
        return time.monotonic() - self._began

    def renew(self) -> None:
        """Look who has got somewhere, and make those anew that have not and need not survive."""
        for direction, flow in enumerate(self._flows):
            if self.found[direction] is None and flow.carried(self._marks[direction], 0.0) is not None:
                self.found[direction] = self.since_event
        if time.monotonic() - self._renewed < ANEW_S:
            return
        self._renewed = time.monotonic()
        for direction in (0, 1):
            if self.found[direction] is None and rules.excused(self._cell, "flow", direction) is not None:
                self._flows[direction], self._marks[direction] = self._open(direction), 0
