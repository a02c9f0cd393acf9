"""The parts of the desired state put together, so that one part can change at the cost of that part.

Parts may ask for the same thing. A policy is then the one of the part with the highest number (peers come after the
blocks of the connection that serves them), but nothing passes in clear that another part protects or drops. An
interface has the smallest MTU that anybody needs, and so has the route to a peer. Another route or a clamp stands as
long as somebody wants it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

from xfrmctl.kernel.desired import Action, Clamp, Desired, Policy, PolicyKey, Route, XfrmInterface
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.model.address import IPNetwork

T = TypeVar("T")
RouteKey = tuple[int, IPNetwork, int]
Asked = tuple[tuple[int, Policy], ...]
"""Which parts ask for a policy with one key, by number."""

EMPTY = Desired()


class Union:
    """All parts by number, and what they come to."""

    def __init__(self, parts: Mapping[int, Desired] | None = None) -> None:
        self.parts: dict[int, Desired] = {}
        self._policies: dict[PolicyKey, Asked] = {}
        self._interfaces: dict[str, Counter[XfrmInterface]] = {}
        self._routes: Counter[Route] = Counter()
        self._to_peers: dict[RouteKey, Counter[Route]] = {}
        self._clamps: Counter[Clamp] = Counter()
        for number, part in (parts or {}).items():
            self._put(number, part)

    @property
    def policies(self) -> int:
        """How many policies should stand."""
        return len(self._policies)

    def whole(self) -> Desired:
        """Everything that should stand."""
        return Desired(
            {key: asked[-1][1] for key, asked in self._policies.items()},
            {name: _smallest(asked) for name, asked in self._interfaces.items()},
            frozenset(self._routes) | {_narrowest(asked) for asked in self._to_peers.values()},
            frozenset(self._clamps),
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
        interfaces: dict[str, XfrmInterface] = {}
        routes: set[Route] = set()
        clamps: set[Clamp] = set()
        for part in touched:
            policies |= {key: self._policies[key][-1][1] for key in part.policies if key in self._policies}
            interfaces |= {n: _smallest(self._interfaces[n]) for n in part.interfaces if n in self._interfaces}
            routes |= {route for route in part.routes if route in self._routes}
            routes |= {_narrowest(self._to_peers[r.key]) for r in part.routes if r.key in self._to_peers}
            clamps |= {clamp for clamp in part.clamps if clamp in self._clamps}
        return Desired(policies, interfaces, frozenset(routes), frozenset(clamps))

    def _put(self, number: int, part: Desired) -> None:
        self.parts[number] = part
        for key, policy in part.policies.items():
            asked = self._policies.get(key)
            mine = (number, policy)
            self._policies[key] = tuple(sorted((*asked, mine), key=_rank)) if asked else (mine,)
        for name, interface in part.interfaces.items():
            self._interfaces.setdefault(name, Counter())[interface] += 1
        for route in part.routes:
            asked_for = self._to_peers.setdefault(route.key, Counter()) if route.table == PEER_TABLE else self._routes
            asked_for[route] += 1
        self._clamps.update(part.clamps)

    def _take(self, number: int) -> None:
        part = self.parts.pop(number, EMPTY)
        for key in part.policies:
            rest = tuple(asked for asked in self._policies[key] if asked[0] != number)
            if rest:
                self._policies[key] = rest
            else:
                del self._policies[key]
        for name, interface in part.interfaces.items():
            _count_down(self._interfaces[name], (interface,))
            if not self._interfaces[name]:
                del self._interfaces[name]
        for route in part.routes:
            to_peer = route.table == PEER_TABLE
            _count_down(self._to_peers[route.key] if to_peer else self._routes, (route,))
            if to_peer and not self._to_peers[route.key]:
                del self._to_peers[route.key]
        _count_down(self._clamps, part.clamps)


def _count_down(counts: Counter[T], things: Iterable[T]) -> None:
    for thing in things:
        counts[thing] -= 1
        if not counts[thing]:
            del counts[thing]


def _rank(asked: tuple[int, Policy]) -> tuple[bool, int]:
    """What lets packets pass in clear yields to what protects or drops them; else the number decides."""
    number, policy = asked
    return policy.template is not None or policy.action is Action.BLOCK, number


def _smallest(asked: Counter[XfrmInterface]) -> XfrmInterface:
    return min(asked, key=lambda interface: interface.mtu)


def _narrowest(asked: Counter[Route]) -> Route:
    return min(asked, key=lambda route: route.mtu or 0)
