"""A fault as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from xfrmctl.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What makes a fault, and which finding it must give.

    ``a`` and ``b`` change the configurations of the gateways; ``make`` and ``undo`` are commands by namespace;
    ``stopped``: gateway B's daemon does not run; ``again``: the tunnel is negotiated anew under the fault.
    ``side`` is whose view is asked, 0 for A. ``evidence`` must stand in the finding's evidence or symptom.
    ``noise`` are commands that run as long as the fault stands; ``reload``: the daemon then has to put things right.
    ``settled``: what a gateway's state must have come to before the fault is looked at; ``seconds`` is how long
    counters are watched then. ``cured``: the finding's own commands have to help; ``version`` of the ping that then
    crosses is 0 for IPv4, 1 for IPv6.
    """

    name: str
    finding: str
    evidence: str
    a: Mapping[str, Any] = field(default_factory=dict)
    b: Mapping[str, Any] = field(default_factory=dict)
    make: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    stopped: bool = False
    again: bool = False
    side: int = 0
    settled: Callable[[Snapshot], bool] | None = None
    seconds: float = 0.0
    noise: tuple[str, ...] = ()
    reload: bool = False
    cured: bool = False
    version: int = 0

    def by_rule(self, where: str, text: str, tool: str = "iptables") -> "Fault":
        """The same, made by one rule; ``text`` begins with -A or -I and the chain, or with a table before."""
        undo = text.replace("-I ", "-D ", 1) if "-I " in text else text.replace("-A ", "-D ", 1)
        return replace(self, make=(f"{where}: {tool} -w {text}",), undo=(f"{where}: {tool} -w {undo}",))


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """``other`` over ``one``, mappings key by key; None takes a key out; "beside" is not for here."""
    found = dict(one)
    for key, value in other.items():
        if key == "beside":
            continue
        if value is None:
            found.pop(key, None)
            continue
        old = found.get(key)
        found[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found
