"""Our table of nf_tables that clamps, as values: chains, maps, and what is in the maps. Pure.

As the program nft would write it, for two pairs of networks whose prefixes are 24 bits long::

    table inet xfrmctl {
        map pairs4-24-24 { type ipv4_addr . ipv4_addr : verdict
            elements = { 10.1.1.0 . 10.1.2.0 : jump mss4-1406, 10.1.2.0 . 10.1.1.0 : jump mss4-1406 } }
        chain mss4-1406 { tcp option maxseg size > 1406 counter tcp option maxseg size set 1406 }
        chain syn { ip saddr & 255.255.255.0 . ip daddr & 255.255.255.0 vmap @pairs4-24-24 }
        chain postrouting { type filter hook postrouting priority mangle; tcp flags & (syn | rst) == syn jump syn }
        chain input { type filter hook input priority mangle; tcp flags & (syn | rst) == syn jump syn }
    }

* The hooks are those of :mod:`xfrmctl.kernel.firewall.clamp`, for the same reasons.
* A hash table for each pair of prefix lengths, as an ipset has them inside: a SYN costs one look-up for each pair of
  lengths in use, whatever the number of tunnels, and a change costs what it is large. A map with intervals would take
  all pairs at once, but copies itself for each change, and refuses pairs that share packets.
* Pairs that share packets are in different maps, or are the same pair; all maps are asked, and of one pair that two
  ask for, the smaller MSS is in the map.
* The comparison comes first: an MSS is never raised, and the counter counts packets that were rewritten.
* nf_tables adds no option to a SYN without one (``nft_exthdr`` ends the rule). Whoever gets such a SYN sends segments
  of 536 bytes, over IPv6 of 1,220 (RFC 9293 3.7.1), so only an MSS below these two is not enforced upon him.
* An ``accept`` in another table's chain does not skip ours: nothing but a change of our table shadows it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from xfrmctl.kernel.desired import ClampRule, Element
from xfrmctl.kernel.firewall.clamp import Counter
from xfrmctl.kernel.netlink import expressions as ex
from xfrmctl.kernel.netlink import nftables as nft
from xfrmctl.kernel.netlink.nftables import Chain, Found, Rule, Set
from xfrmctl.kernel.ownership import NFT_TABLE
from xfrmctl.model.address import IPNetwork

TABLE = NFT_TABLE
PRIORITY = -150
"""``NF_IP_PRI_MANGLE`` (``include/uapi/linux/netfilter_ipv4.h``)."""

FAMILIES = (4, 6)
Pair = tuple[IPNetwork, IPNetwork]
"""Source and destination of a SYN."""

Lengths = tuple[int, int, int]
"""Family, and the lengths of both prefixes."""

_NFPROTO = {4: 2, 6: 10}
_SIZE = {4: 4, 6: 16}
_SOURCE_AT = {4: 12, 6: 8}
_TYPE = {4: nft.IPV4, 6: nft.IPV6}
_TCP, _FLAGS_AT, _SYN, _SYN_RST = 6, 13, b"\x02", b"\x06"
_MAP = re.compile(r"pairs([46])-(\d+)-(\d+)")
_CHAIN = re.compile(r"mss([46])-(\d+)")
_NETWORK: dict[int, type[IPv4Network] | type[IPv6Network]] = {4: IPv4Network, 6: IPv6Network}


@dataclass(slots=True)
class Table:
    """What our table holds. ``whole``: every rule and every map is as we make it, and nothing else is in its way."""

    present: bool = False
    whole: bool = False
    rules: dict[ClampRule, Counter] = field(default_factory=dict)
    pairs: dict[Pair, ClampRule] = field(default_factory=dict)

    @property
    def standing(self) -> frozenset[ClampRule]:
        """Rules that are in force."""
        return frozenset(self.rules) if self.whole else frozenset()


def lengths_of(pair: Pair) -> Lengths:
    """Which map a pair belongs to."""
    return pair[0].version, pair[0].prefixlen, pair[1].prefixlen


def chain_name(rule: ClampRule) -> str:
    """The chain of a rule."""
    return f"mss{rule.family}-{rule.mss}"


def map_name(lengths: Lengths) -> str:
    """The map of the pairs with prefixes of these lengths."""
    return "pairs{}-{}-{}".format(*lengths)


def pairs_map(lengths: Lengths) -> Set:
    """A map of pairs to their MSS."""
    kind, size = _TYPE[lengths[0]], _SIZE[lengths[0]]
    return Set(map_name(lengths), nft.joined(kind, kind), 2 * size, is_map=True)


def key(pair: Pair) -> bytes:
    """A pair as its map has it."""
    return pair[0].network_address.packed + pair[1].network_address.packed


def chain(rule: ClampRule, counter: Counter) -> Chain:
    """The chain of a rule, with a counter that begins at these numbers."""
    what = ex.load_mss() + ex.compare(rule.mss.to_bytes(2, "big"), ex.GT)
    what += ex.counter(counter.packets, counter.bytes) + ex.store_mss(rule.mss)
    return Chain(chain_name(rule), (Rule(chain_name(rule), what),))


def look_up(lengths: Lengths) -> Rule:
    """The rule that asks one map."""
    family, *prefixes = lengths
    size, at = _SIZE[family], _SOURCE_AT[family]
    what = ex.meta(ex.NFPROTO) + ex.compare(bytes([_NFPROTO[family]]))
    for n, prefix in enumerate(prefixes):
        register = ex.R0 + n * size // 4
        what += ex.payload(ex.NETWORK, at + n * size, size, register)
        if prefix < 8 * size:
            what += ex.masked(_mask(prefix, size), register)
    what += ex.verdict_of(map_name(lengths))
    return Rule(map_name(lengths), what)


def _mask(prefix: int, size: int) -> bytes:
    bits = 8 * size
    return ((1 << bits) - (1 << (bits - prefix))).to_bytes(size, "big")


def hooks() -> list[Chain]:
    """The chains that packets enter."""
    what = ex.meta(ex.L4PROTO) + ex.compare(bytes([_TCP]))
    what += ex.payload(ex.TRANSPORT, _FLAGS_AT, 1) + ex.masked(_SYN_RST) + ex.compare(_SYN) + ex.jump("syn")
    rules = (Rule("syn", what),)
    return [
        Chain("postrouting", rules, nft.POST_ROUTING, PRIORITY),
        Chain("input", rules, nft.LOCAL_IN, PRIORITY),
    ]


def by_map(pairs: Iterable[tuple[Pair, ClampRule]]) -> dict[Lengths, list[tuple[bytes, bytes]]]:
    """Pairs as members, by the map that they belong to."""
    found: dict[Lengths, list[tuple[bytes, bytes]]] = {}
    for pair, rule in pairs:
        found.setdefault(lengths_of(pair), []).append((key(pair), ex.verdict(ex.JUMP, chain_name(rule))))
    return found


def read(found: Found, maps: Mapping[str, Mapping[bytes, bytes]]) -> Table:
    """Understand a table; ``maps`` are the members of its maps of pairs."""
    table = Table(present=found.present, whole=found.present and not found.dormant)
    for name, rules in found.rules.items():
        at = _CHAIN.fullmatch(name)
        if at is None:
            continue
        right = len(rules) == 1 and rules[0][0] == name
        table.whole &= right
        table.rules[ClampRule(int(at[1]), int(at[2]))] = Counter(*rules[0][1:]) if right else Counter()
    for name, members in maps.items():
        lengths = lengths_from(name)
        if lengths is not None:
            _take(table, lengths, members)
    table.whole = table.whole and _frame(found)
    return table


def lengths_from(name: str) -> Lengths | None:
    """What a map of pairs is for; None for any other set."""
    at = _MAP.fullmatch(name)
    return (int(at[1]), int(at[2]), int(at[3])) if at is not None else None


def _frame(found: Found) -> bool:
    """Whether hooks, look-ups and maps are as they should be."""
    maps = {name: lengths for name in found.sets if (lengths := lengths_from(name)) is not None}
    wanted = [pairs_map(lengths) for lengths in maps.values()]
    if any(found.sets.get(one.name) != nft.shape(one) for one in wanted):
        return False
    if sorted(what for what, *_ in found.rules.get("syn", [])) != sorted(maps):
        return False
    return all(
        found.hooks.get(one.name) == nft.at(one) and [what for what, *_ in found.rules[one.name]] == ["syn"]
        for one in hooks()
    )


def _take(table: Table, lengths: Lengths, members: Mapping[bytes, bytes]) -> None:
    family, *prefixes = lengths
    network, half = _NETWORK[family], _SIZE[family]
    rules = {chain_name(rule).encode(): rule for rule in table.rules}
    known: dict[tuple[bytes, int], IPNetwork] = {}

    def of(packed: bytes, prefix: int) -> IPNetwork:
        found = known.get((packed, prefix))
        if found is None:
            found = known[packed, prefix] = network((packed, prefix), strict=False)
        return found

    for member, data in members.items():
        pair = of(member[:half], prefixes[0]), of(member[half:], prefixes[1])
        rule = rules.get(data)
        if rule is None or rule.family != family or key(pair) != member:
            table.whole = False
        else:
            table.pairs[pair] = rule


def elements(pairs: Iterable[tuple[Pair, ClampRule]]) -> Iterable[Element]:
    """Pairs as elements."""
    return (Element(rule, *pair) for pair, rule in pairs)
