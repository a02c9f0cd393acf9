"""Pairs of networks, in layers none of which has two pairs that share a packet. Pure.

A map of nf_tables with intervals (``nft_set_pipapo``) takes no element that reaches into another one, or gives what
was inserted first where it does not notice. Of two clamps that share packets the smaller MSS must apply, whichever
came first. So each pair stays as it is written, the second of two that overlap goes to the next map, and a SYN is
looked up in one map after the other. Tunnels seldom share packets: one map is the rule.

To ask whether a pair is free costs a look-up per distinct pair of prefix lengths, not per pair of networks: two
prefixes overlap if they are the same when both are cut to the shorter length.
"""

from collections import Counter
from collections.abc import Iterator

from xfrmctl.kernel.desired import ClampRule, Element
from xfrmctl.model.address import IPNetwork

Pair = tuple[IPNetwork, IPNetwork]
"""Source and destination of a SYN."""

_Lengths = tuple[int, int]
_Cut = tuple[int, int]


class Layer:
    """Pairs of one family, each with its rule."""

    def __init__(self) -> None:
        self.pairs: dict[Pair, ClampRule] = {}
        self._lengths: Counter[_Lengths] = Counter()
        self._cuts: dict[_Lengths, dict[_Lengths, Counter[_Cut]]] = {}

    def free(self, pair: Pair) -> bool:
        """Whether no pair of this layer shares a packet with this one."""
        own = _lengths(pair)
        for lengths in self._lengths:
            shorter = (min(own[0], lengths[0]), min(own[1], lengths[1]))
            if self._counted(lengths, shorter)[_cut(pair, shorter)]:
                return False
        return True

    def put(self, pair: Pair, rule: ClampRule) -> None:
        """Add a pair that is free."""
        self.pairs[pair] = rule
        lengths = _lengths(pair)
        self._lengths[lengths] += 1
        for shorter, counts in self._cuts.get(lengths, {}).items():
            counts[_cut(pair, shorter)] += 1

    def take(self, pair: Pair) -> None:
        """Remove a pair that is there."""
        del self.pairs[pair]
        lengths = _lengths(pair)
        for shorter, counts in self._cuts.get(lengths, {}).items():
            cut = _cut(pair, shorter)
            counts[cut] -= 1
            if not counts[cut]:
                del counts[cut]
        self._lengths[lengths] -= 1
        if not self._lengths[lengths]:
            del self._lengths[lengths]
            self._cuts.pop(lengths, None)

    def _counted(self, lengths: _Lengths, shorter: _Lengths) -> Counter[_Cut]:
        """How many pairs of these lengths become what when they are cut; kept from the first question on."""
        by_cut = self._cuts.setdefault(lengths, {})
        if shorter not in by_cut:
            by_cut[shorter] = Counter(_cut(pair, shorter) for pair in self.pairs if _lengths(pair) == lengths)
        return by_cut[shorter]


class Layers:
    """The layers of one family; the first ones are the fullest."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    def __iter__(self) -> Iterator[Element]:
        return (Element(rule, *pair) for layer in self.layers for pair, rule in layer.pairs.items())

    def reserve(self, number: int) -> None:
        """Have a layer of this number."""
        self.layers += [Layer() for _ in range(len(self.layers), number + 1)]

    def put(self, number: int, pair: tuple[IPNetwork | None, IPNetwork | None], rule: ClampRule) -> bool:
        """Put a pair into this layer, if both networks are known and it is free."""
        source, destination = pair
        if source is None or destination is None or not self.layers[number].free((source, destination)):
            return False
        self.layers[number].put((source, destination), rule)
        return True

    def where(self, element: Element) -> int | None:
        """The number of the layer that has an element."""
        pair = (element.source, element.destination)
        return next((n for n, layer in enumerate(self.layers) if layer.pairs.get(pair) == element.rule), None)

    def add(self, element: Element) -> int | None:
        """Put an element into the first layer that is free, and give its number; None if it is there already."""
        if self.where(element) is not None:
            return None
        pair = (element.source, element.destination)
        number = next((n for n, layer in enumerate(self.layers) if layer.free(pair)), len(self.layers))
        if number == len(self.layers):
            self.layers.append(Layer())
        self.layers[number].put(pair, element.rule)
        return number

    def remove(self, element: Element) -> int | None:
        """Take an element out, and give the number of its layer; None if it is gone already."""
        number = self.where(element)
        if number is not None:
            self.layers[number].take((element.source, element.destination))
        return number

    def sink(self, pair: Pair) -> tuple[Element, int, int] | None:
        """Move the topmost element of this pair down as far as it goes: what, whence, whither. None if it stays.

        A tunnel that changes its MSS has two for a moment, and the new one would stay in the second layer forever.
        """
        for number in range(len(self.layers) - 1, 0, -1):
            rule = self.layers[number].pairs.get(pair)
            if rule is None:
                continue
            for lower in range(number):
                if self.layers[lower].free(pair):
                    self.layers[number].take(pair)
                    self.layers[lower].put(pair, rule)
                    return Element(rule, *pair), number, lower
        return None

    def trim(self) -> None:
        """Forget the last layers where they are empty."""
        while self.layers and not self.layers[-1].pairs:
            self.layers.pop()


def _lengths(pair: Pair) -> _Lengths:
    return pair[0].prefixlen, pair[1].prefixlen


def _cut(pair: Pair, lengths: _Lengths) -> _Cut:
    bits = pair[0].max_prefixlen
    return (
        int(pair[0].network_address) >> (bits - lengths[0]),
        int(pair[1].network_address) >> (bits - lengths[1]),
    )
