"""The parts of the desired state put together, so that one part can change at the cost of that part.

Parts may ask for the same thing. A policy is then the one of the part with the highest number (peers come after the
blocks of the connection that serves them), but nothing passes in clear that another part protects or drops. A route
has the smallest MTU that anybody needs. An interface has the largest, where all who share it have routes through it
that say what each of their tunnels takes; else the smallest that one without such routes needs. A clamp stands as
long as somebody wants it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from xfrmctl.kernel.desired import Action, Clamp, Desired, DfRule, Interface, Policy, PolicyKey, Route
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.model.address import IPNetwork

T = TypeVar("T")
RouteKey = tuple[int, IPNetwork, int]
Need = tuple[Interface, bool]
"""An interface as a part needs it, and whether the part's own routes lead into it, with their MTU."""

Asked = tuple[tuple[int, Policy], ...]
"""Which parts ask for a policy with one key, by number."""

EMPTY = Desired()
MAX_MTU = 65536
"""Of a route that says nothing: whatever its device takes."""


class Union:
    """All parts by number, and what they come to."""

    def __init__(self, parts: Mapping[int, Desired] | None = None) -> None:
        self.parts: dict[int, Desired] = {}
        self._policies: dict[PolicyKey, Asked] = {}
        self._interfaces: dict[str, Counter[Need]] = {}
        self._routes: dict[RouteKey, Counter[Route]] = {}
        self._clamps: Counter[Clamp] = Counter()
        self._df: Counter[DfRule] = Counter()
        for number, part in (parts or {}).items():
            self._put(number, part)

    @property
    def policies(self) -> int:
        """How many policies should stand."""
        return len(self._policies)

    @property
    def peer_versions(self) -> set[int]:
        """The IP versions of routes to peers."""
        return {network.version for table, network, _ in self._routes if table == PEER_TABLE}

    def whole(self) -> Desired:
        """Everything that should stand."""
        return Desired(
            {key: asked[-1][1] for key, asked in self._policies.items()},
            {name: _device(asked) for name, asked in self._interfaces.items()},
            frozenset(_narrowest(asked) for asked in self._routes.values()),
            frozenset(self._clamps),
            df=frozenset(self._df),
        )

    def replace(self, parts: Mapping[int, Desired | None]) -> tuple[Desired, Desired]:
        """Change parts (None: take out); gives what they touch, as it was before and as it should be now."""
        touched = [part for number in parts if (part := self.parts.get(number)) is not None]
        touched += [part for part in parts.values() if part is not None]
        before = self._of(touched)
        for number, part in parts.items():
            self._take(number)
            if part is not None:
                self._put(number, part)
        return before, self._of(touched)

    def _of(self, touched: Iterable[Desired]) -> Desired:
        policies: dict[PolicyKey, Policy] = {}
        interfaces: dict[str, Interface] = {}
        routes: set[Route] = set()
        clamps: set[Clamp] = set()
        df: set[DfRule] = set()
        for part in touched:
            policies |= {key: self._policies[key][-1][1] for key in part.policies if key in self._policies}
            interfaces |= {n: _device(self._interfaces[n]) for n in part.interfaces if n in self._interfaces}
            routes |= {_narrowest(self._routes[r.key]) for r in part.routes if r.key in self._routes}
            clamps |= {clamp for clamp in part.clamps if clamp in self._clamps}
            df |= {rule for rule in part.df or () if rule in self._df}
        return Desired(policies, interfaces, frozenset(routes), frozenset(clamps), df=frozenset(df))

    def _put(self, number: int, part: Desired) -> None:
        self.parts[number] = part
        for key, policy in part.policies.items():
            asked = self._policies.get(key)
            mine = (number, policy)
            self._policies[key] = tuple(sorted((*asked, mine), key=_rank)) if asked else (mine,)
        for name, need in _needs(part):
            self._interfaces.setdefault(name, Counter())[need] += 1
        for route in part.routes:
            self._routes.setdefault(route.key, Counter())[route] += 1
        self._clamps.update(part.clamps)
        self._df.update(part.df or ())

    def _take(self, number: int) -> None:
        part = self.parts.pop(number, EMPTY)
        for key in part.policies:
            rest = tuple(asked for asked in self._policies[key] if asked[0] != number)
            if rest:
                self._policies[key] = rest
            else:
                del self._policies[key]
        for name, need in _needs(part):
            _count_down(self._interfaces[name], (need,))
            if not self._interfaces[name]:
                del self._interfaces[name]
        for route in part.routes:
            _count_down(self._routes[route.key], (route,))
            if not self._routes[route.key]:
                del self._routes[route.key]
        _count_down(self._clamps, part.clamps)
        _count_down(self._df, part.df or ())


def _count_down(counts: Counter[T], things: Iterable[T]) -> None:
    for thing in things:
        counts[thing] -= 1
        if not counts[thing]:
            del counts[thing]


def _rank(asked: tuple[int, Policy]) -> tuple[bool, int]:
    """What lets packets pass in clear yields to what protects or drops them; else the number decides."""
    number, policy = asked
    return policy.template is not None or policy.action is Action.BLOCK, number


def _needs(part: Desired) -> Iterator[tuple[str, Need]]:
    """What a part needs of its interfaces, and whether it has routes through them."""
    through = {route.device for route in part.routes if route.mtu is not None}
    for name, interface in part.interfaces.items():
        yield name, (interface, name in through)


def _device(asked: Counter[Need]) -> Interface:
    bare = [interface for interface, routed in asked if not routed]
    if bare:
        return min(bare, key=lambda interface: interface.mtu)
    return max((interface for interface, _ in asked), key=lambda interface: interface.mtu)


def _narrowest(asked: Counter[Route]) -> Route:
    return min(asked, key=lambda route: (route.mtu or MAX_MTU, str(route.source)))
