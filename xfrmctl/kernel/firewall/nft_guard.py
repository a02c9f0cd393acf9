"""The rules of the ICMP guard in nf_tables, as values. Pure.

A table of its own, whose chain looks at INPUT, behind reassembly: a rule in PREROUTING could be evaded by sending the
error in fragments (KERNEL-FACTS 7). For IPv4 (``@th`` counts from the ICMP header, behind which is the quoted packet)::

    table inet xfrmctl-icmp {
        set judged4 { type ipv4_addr; }   set ignored4 { type ipv4_addr; }   set known4 { type ipv4_addr . ipv4_addr; }
        chain input { type filter hook input priority mangle;
            meta nfproto ipv4 meta l4proto icmp @th,0,16 0x0304 jump icmp4 }
        chain icmp4 {
            @th,192,32 @ignored4 counter drop
            @th,192,32 @judged4 goto judge4 }                                               # quotes a packet to a peer
        chain judge4 {
            @th,136,8 50 @th,192,32 . @th,224,32 @known4 goto known4                        # ESP; AH and UDP likewise
            limit rate 10/second burst 20 packets counter queue to 22598
            counter drop }
        chain known4 {
            update @rates4 { @th,192,32 limit rate 20/second burst 20 packets } counter queue to 22598
            counter drop } }

* No look-up depends on the number of peers.
* An error that quotes an SPI which we have to that peer has a budget of its own, one for each peer: a flood of errors
  by those who do not know an SPI neither costs more than a look-up nor takes the place of a true one. Of the flood a
  few are judged, for the operator to be told by whom and why. What is beyond a rate is lost; the path-MTU engine does
  not need it.
* ``queue`` without ``bypass``: while nobody listens, or the listener hangs and the queue is full, what names a peer
  is dropped. Nothing but such errors ever enters the queue, so that data does not depend on it.
* IPv6: the hook sees fragments where nothing reassembles before it, and the first need not show the quoted packet;
  no router fragments a Packet Too Big (RFC 4443 2.4 c: it fits 1,280 octets), so those are dropped.
* An SPI is shown by the program nft as an IPv4 address, for it has no name for such a number.
"""

from collections.abc import Iterable

from xfrmctl.kernel.desired import IcmpGuard
from xfrmctl.kernel.netlink import expressions as ex
from xfrmctl.kernel.netlink import nftables as nft
from xfrmctl.kernel.netlink.nftables import Chain, Found, Rule, Set
from xfrmctl.kernel.ownership import ICMP_QUEUE, NFT_ICMP_TABLE
from xfrmctl.model.address import IPAddress

TABLE = NFT_ICMP_TABLE
PRIORITY = -150
FAMILIES = (4, 6)
KNOWN_PER_S, KNOWN_BURST = 20, 20
"""Errors with a right SPI for one peer."""

OTHERS_PER_S, OTHERS_BURST = 10, 20
"""All other errors that name any of our peers, of one family."""

MAX_RATES = 65_535
"""Peers about whom there are errors within a minute."""

_ESP, _AH, _UDP = 50, 51, 17
_NFPROTO = {4: b"\x02", 6: b"\x0a"}
_ICMP = {4: b"\x01", 6: b"\x3a"}
_KIND = {4: b"\x03\x04", 6: b"\x02"}
"""Frag-needed with its code; Packet Too Big, of whatever code (RFC 4443 3.2)."""

_SIZE = {4: 4, 6: 16}
_TYPE = {4: nft.IPV4, 6: nft.IPV6}
_PROTOCOL_AT = {4: 8 + 9, 6: 8 + 6}
_DESTINATION_AT = {4: 8 + 16, 6: 8 + 24}
_PAYLOAD_AT = {4: 8 + 20, 6: 8 + 40}
_SPI_IN = {"esp": (_ESP, 0), "udp": (_UDP, 8), "ah": (_AH, 4)}
"""The protocol of the quoted packet, and where its payload has the SPI."""


def sets() -> list[Set]:
    """All sets of the table."""
    found: list[Set] = []
    for family in FAMILIES:
        kind, size = _TYPE[family], _SIZE[family]
        found += [Set(f"{name}{family}", kind, size) for name in ("judged", "ignored")]
        found.append(Set(f"known{family}", nft.joined(kind, nft.IPV4), size + 4))
        found.append(Set(f"rates{family}", kind, size, meter=True, room=MAX_RATES))
    return found


def chains() -> list[Chain]:
    """All chains of the table, in an order in which they can be made."""
    found: list[Chain] = []
    for family in FAMILIES:
        found += [_known(family), _judge(family), _icmp(family)]
    found.append(Chain("input", tuple(_entry(family) for family in FAMILIES), nft.LOCAL_IN, PRIORITY))
    return found


def _entry(family: int) -> Rule:
    kind = _KIND[family]
    what = ex.meta(ex.NFPROTO) + ex.compare(_NFPROTO[family]) + ex.meta(ex.L4PROTO) + ex.compare(_ICMP[family])
    what += ex.payload(ex.TRANSPORT, 0, len(kind)) + ex.compare(kind)
    return Rule(f"errors{family}", what + ex.jump(f"icmp{family}"))


def _icmp(family: int) -> Chain:
    rules = [
        Rule("ignored", _destination(family) + ex.member(f"ignored{family}") + ex.counter() + ex.drop()),
        Rule("judged", _destination(family) + ex.member(f"judged{family}") + ex.jump(f"judge{family}", ex.GOTO)),
    ]
    if family == 6:
        rules.insert(0, Rule("fragment", ex.is_fragment() + ex.counter() + ex.drop()))
    return Chain(f"icmp{family}", tuple(rules))


def _judge(family: int) -> Chain:
    rules: list[Rule] = []
    for name, (protocol, at) in _SPI_IN.items():
        what = ex.payload(ex.TRANSPORT, _PROTOCOL_AT[family], 1) + ex.compare(bytes([protocol]))
        what += _destination(family)
        what += ex.payload(ex.TRANSPORT, _PAYLOAD_AT[family] + at, 4, ex.R0 + _SIZE[family] // 4)
        rules.append(Rule(name, what + ex.member(f"known{family}") + ex.jump(f"known{family}", ex.GOTO)))
    rules.append(_queue(ex.limit(OTHERS_PER_S, OTHERS_BURST)))
    return Chain(f"judge{family}", (*rules, _rest()))


def _known(family: int) -> Chain:
    rate = _destination(family) + ex.within(f"rates{family}", KNOWN_PER_S, KNOWN_BURST)
    return Chain(f"known{family}", (_queue(rate), _rest()))


def _queue(rate: bytes) -> Rule:
    return Rule("queue", rate + ex.counter() + ex.queue(ICMP_QUEUE))


def _rest() -> Rule:
    return Rule("rest", ex.counter() + ex.drop())


def _destination(family: int) -> bytes:
    return ex.payload(ex.TRANSPORT, _DESTINATION_AT[family], _SIZE[family])


def members(guard: IcmpGuard) -> dict[str, set[bytes]]:
    """What the sets should hold."""
    found: dict[str, set[bytes]] = {f"{name}{family}": set() for family in FAMILIES for name in _FIELDS}
    for name in _FIELDS:
        for family, keys in _keys(getattr(guard, name)).items():
            found[f"{name}{family}"] |= keys
    return found


def changes(old: IcmpGuard, new: IcmpGuard) -> dict[str, tuple[set[bytes], set[bytes]]]:
    """What leaves the sets and what comes, at the cost of what changes."""
    found: dict[str, tuple[set[bytes], set[bytes]]] = {}
    for name in _FIELDS:
        before, after = getattr(old, name), getattr(new, name)
        gone, come = _keys(before - after), _keys(after - before)
        for family in gone.keys() | come.keys():
            found[f"{name}{family}"] = gone.get(family, set()), come.get(family, set())
    return found


_FIELDS = ("judged", "ignored", "known")


def _keys(things: Iterable[IPAddress | tuple[IPAddress, int]]) -> dict[int, set[bytes]]:
    found: dict[int, set[bytes]] = {}
    for thing in things:
        address, spi = thing if isinstance(thing, tuple) else (thing, None)
        tail = spi.to_bytes(4, "big") if spi is not None else b""
        found.setdefault(address.version, set()).add(address.packed + tail)
    return found


def framed(found: Found) -> bool:
    """Whether chains, rules and sets are as we make them."""
    if not found.present or found.dormant:
        return False
    if any(found.sets.get(one.name) != nft.shape(one) for one in sets()):
        return False
    return all(
        found.hooks.get(one.name, ()) == nft.at(one)
        and [what for what, *_ in found.rules[one.name]] == [rule.what for rule in one.rules]
        for one in chains()
    )
