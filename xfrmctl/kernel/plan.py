"""The pure difference between two states: what to do, in an order that never opens a gap.

Rules of the order, each step of which is one phase below:

1. what guards comes first: blackhole routes and block policies are added before anything can depend on them;
2. a device exists before the routes through it; MSS and MTUs are lowered before anything new flows. From the inside to
   the outside: MSS, inner routes, devices, routes to peers; else the kernel would find a tunnel narrower than what
   leads into it, and note that down on inner destinations (KERNEL-FACTS 8b). They are raised last, from the outside
   to the inside: no host is told a size, and no SYN gets an MSS, that what is outside of it does not take;
3. inbound policies come before the outbound one that makes the peer answer;
4. add and replace before delete: a key that both states have is covered after every single step, since a policy is
   replaced in place;
5. deletion runs the other way round, outbound first, blackholes last.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from xfrmctl.kernel.desired import (
    Action,
    Actual,
    ClampRule,
    Desired,
    DfRule,
    Element,
    IcmpGuard,
    Interface,
    Policy,
    PolicyKey,
    Route,
    XfrmInterface,
)
from xfrmctl.kernel.firewall.clamp import elements, pairs_of
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.model.sa import Direction


class Phase(IntEnum):
    """When an operation runs."""

    GUARD_ROUTES = 1
    GUARD_POLICIES = 2
    REPLACE_INTERFACES = 3
    ADD_CLAMPS = 4
    LOWER_ROUTES = 5
    LOWER_INTERFACES = 6
    LOWER_PEER_ROUTES = 7
    GUARD_ICMP = 8
    ADD_INTERFACES = 9
    SET_DF = 10
    ADD_POLICIES_IN = 11
    ADD_POLICIES_OUT = 12
    ADD_ROUTES = 13
    RAISE_PEER_ROUTES = 14
    RAISE_INTERFACES = 15
    RAISE_ROUTES = 16
    DELETE_CLAMPS = 17
    DELETE_ROUTES = 18
    DELETE_POLICIES_OUT = 19
    DELETE_POLICIES_IN = 20
    DELETE_INTERFACES = 21
    DELETE_GUARD_ROUTES = 22


@dataclass(frozen=True, slots=True)
class PutPolicy:
    """Add a policy (``old`` is None: exclusive) or replace one in place."""

    new: Policy
    old: Policy | None = None

    def __str__(self) -> str:
        return f"~ policy {self.new} (was {self.old})" if self.old else f"+ policy {self.new}"


@dataclass(frozen=True, slots=True)
class DeletePolicy:
    """Delete a policy of ours."""

    old: Policy

    def __str__(self) -> str:
        return f"- policy {self.old}"


@dataclass(frozen=True, slots=True)
class AddInterface:
    """Create an xfrm interface or a tunnel device, and set it up."""

    new: Interface

    def __str__(self) -> str:
        return f"+ interface {self.new}"


@dataclass(frozen=True, slots=True)
class SetInterface:
    """Change an interface: its MTU, what else of a tunnel device is not as it should be, and set it up."""

    new: Interface
    old: Interface

    def __str__(self) -> str:
        was = f"mtu {self.old.mtu or 'unset'}" if isinstance(self.old, XfrmInterface) else str(self.old)
        return f"~ interface {self.new} (was {was})"


@dataclass(frozen=True, slots=True)
class DeleteInterface:
    """Delete an interface; the kernel takes its routes and addresses along."""

    old: Interface

    def __str__(self) -> str:
        return f"- interface {self.old}"


@dataclass(frozen=True, slots=True)
class PutRoute:
    """Add a route (``old`` is None: exclusive) or replace one."""

    new: Route
    old: Route | None = None

    @property
    def raises(self) -> bool:
        """Whether a route through the same device takes more than before."""
        if self.old is None or self.old.device is None or self.old.device != self.new.device or self.old.mtu is None:
            return False
        return self.new.mtu is None or self.new.mtu > self.old.mtu

    def __str__(self) -> str:
        return f"~ route {self.new} (was {self.old})" if self.old else f"+ route {self.new}"


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Delete a route of ours."""

    old: Route

    def __str__(self) -> str:
        return f"- route {self.old}"


@dataclass(frozen=True, slots=True)
class AddClamps:
    """Make rules stand, then put elements into their ipsets."""

    rules: frozenset[ClampRule]
    elements: frozenset[Element]

    def __str__(self) -> str:
        lines = [f"+ clamp rule {rule}" for rule in sorted(self.rules)]
        return "\n".join(lines + [f"+ clamp {clamp}" for clamp in pairs_of(self.elements)])


@dataclass(frozen=True, slots=True)
class DeleteClamps:
    """Take elements out of their ipsets, then drop rules that serve nobody any more."""

    rules: frozenset[ClampRule]
    elements: frozenset[Element]

    def __str__(self) -> str:
        lines = [f"- clamp {clamp}" for clamp in pairs_of(self.elements)]
        return "\n".join(lines + [f"- clamp rule {rule}" for rule in sorted(self.rules)])


@dataclass(frozen=True, slots=True)
class SetIcmpGuard:
    """Have these peers guarded and no others; ``old`` is None where nobody knows what stands."""

    new: IcmpGuard
    old: IcmpGuard | None

    def __str__(self) -> str:
        return f"~ icmp guard: {self.new} (was {self.old or 'damaged, or of another run'})"


@dataclass(frozen=True, slots=True)
class ChangeDf:
    """Have these rules about DF, and those no more; ``afresh``: nobody knows what stands, so only the new ones."""

    new: frozenset[DfRule]
    gone: frozenset[DfRule] = frozenset()
    afresh: bool = False

    def __str__(self) -> str:
        lines = ["~ df: the table is damaged, or of another run"] if self.afresh else []
        lines += [f"+ df {rule}" for rule in sorted(map(str, self.new))]
        return "\n".join(lines + [f"- df {rule}" for rule in sorted(map(str, self.gone))])


PolicyOperation = PutPolicy | DeletePolicy
InterfaceOperation = AddInterface | SetInterface | DeleteInterface
RouteOperation = PutRoute | DeleteRoute
ClampOperation = AddClamps | DeleteClamps
Operation = PolicyOperation | InterfaceOperation | RouteOperation | ClampOperation | SetIcmpGuard | ChangeDf


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations in the order in which they must run."""

    operations: tuple[Operation, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.operations)

    def render(self) -> str:
        """One operation a line: ``+`` add, ``~`` change, ``-`` delete."""
        return "\n".join(str(operation) for operation in self.operations)


_IN_PHASES = (Phase.ADD_POLICIES_IN, Phase.DELETE_POLICIES_IN)
_OUT_PHASES = (Phase.ADD_POLICIES_OUT, Phase.DELETE_POLICIES_OUT)


def holding(state: Desired) -> Actual:
    """The kernel as it is when ``state`` has been applied in full."""
    return Actual(state, elements(state.clamps), state.clamp_rules)


def diff(actual: Actual, desired: Desired) -> Plan:
    """What brings ``actual`` to ``desired``."""
    steps: list[tuple[Phase, Operation]] = []
    have = actual.state
    _policies(have.policies, desired.policies, steps)
    recreated = _interfaces(have.interfaces, desired.interfaces, steps)
    _routes((r for r in have.routes if r.device not in recreated), desired.routes, steps)
    _clamps(actual, elements(desired.clamps), steps)
    if desired.icmp is not None and desired.icmp != have.icmp:
        steps.append((Phase.GUARD_ICMP, SetIcmpGuard(desired.icmp, have.icmp)))
    _df(have.df, desired.df, steps)
    steps.sort(key=lambda step: step[0])  # stable: within a phase the order of the states stays
    return Plan(tuple(operation for _, operation in steps))


def _df(have: frozenset[DfRule] | None, want: frozenset[DfRule] | None, steps: list[tuple[Phase, Operation]]) -> None:
    if want is None or have == want:
        return
    change = ChangeDf(want, afresh=True) if have is None else ChangeDf(want - have, have - want)
    steps.append((Phase.SET_DF, change))


def _policies(
    have: dict[PolicyKey, Policy], want: dict[PolicyKey, Policy], steps: list[tuple[Phase, Operation]]
) -> None:
    for key, new in want.items():
        old = have.get(key)
        if old is new or old == new:
            continue
        if new.action is Action.BLOCK:
            phase = Phase.GUARD_POLICIES
        else:
            phase = (_OUT_PHASES if key.direction is Direction.OUT else _IN_PHASES)[0]
        steps.append((phase, PutPolicy(new, old)))
    for key, old in have.items():
        if key not in want:
            phase = (_OUT_PHASES if key.direction is Direction.OUT else _IN_PHASES)[1]
            steps.append((phase, DeletePolicy(old)))


def _interfaces(
    have: Mapping[str, Interface], want: Mapping[str, Interface], steps: list[tuple[Phase, Operation]]
) -> set[str | None]:
    """Gives the names of those that must be deleted and made anew: their routes are gone then.

    Two devices cannot share an if_id, or both ends of a tunnel, not even for a moment; so a device that must make room
    goes first, while the blackhole routes stand guard.
    """
    ids = {new.identity: name for name, new in want.items()}
    recreated: set[str | None] = set()
    for name, old in have.items():
        wanted = want.get(name)
        if (wanted is not None and not old.becomes(wanted)) or ids.get(old.identity, name) != name:
            recreated.add(name)
            steps.append((Phase.REPLACE_INTERFACES, DeleteInterface(old)))
        elif wanted is None:
            steps.append((Phase.DELETE_INTERFACES, DeleteInterface(old)))
        elif wanted != old:
            phase = Phase.RAISE_INTERFACES if 0 < old.mtu < wanted.mtu else Phase.LOWER_INTERFACES
            steps.append((phase, SetInterface(wanted, old)))
    for name, new in want.items():
        if name not in have or name in recreated:
            steps.append((Phase.ADD_INTERFACES, AddInterface(new)))
    return recreated


def _routes(have: Iterable[Route], want: Iterable[Route], steps: list[tuple[Phase, Operation]]) -> None:
    old_by_key = {route.key: route for route in have}
    new_by_key = {route.key: route for route in want}
    for new in sorted((new for key, new in new_by_key.items() if old_by_key.get(key) != new), key=_order):
        old = old_by_key.get(new.key)
        if new.device is None:
            phase = Phase.GUARD_ROUTES
        elif old is None or old.device != new.device:
            phase = Phase.ADD_ROUTES
        else:
            to_peer = new.table == PEER_TABLE
            if PutRoute(new, old).raises:
                phase = Phase.RAISE_PEER_ROUTES if to_peer else Phase.RAISE_ROUTES
            else:
                phase = Phase.LOWER_PEER_ROUTES if to_peer else Phase.LOWER_ROUTES
        steps.append((phase, PutRoute(new, old)))
    for gone in sorted((old for key, old in old_by_key.items() if key not in new_by_key), key=_order):
        phase = Phase.DELETE_GUARD_ROUTES if gone.device is None else Phase.DELETE_ROUTES
        steps.append((phase, DeleteRoute(gone)))


def _order(route: Route) -> tuple[int, ...]:
    network = route.destination
    return (route.table, network.version, int(network.network_address), network.prefixlen, route.metric)


def _clamps(actual: Actual, want: frozenset[Element], steps: list[tuple[Phase, Operation]]) -> None:
    """Elements are added to their new set before they leave the old one: the smaller MSS applies meanwhile."""
    old_rules = actual.clamp_rules | {element.rule for element in actual.members}
    rules = frozenset(element.rule for element in want)
    added = AddClamps(rules - actual.clamp_rules, want - actual.members)
    if added.rules or added.elements:
        steps.append((Phase.ADD_CLAMPS, added))
    gone = DeleteClamps(old_rules - rules, actual.members - want)
    if gone.rules or gone.elements:
        steps.append((Phase.DELETE_CLAMPS, gone))
