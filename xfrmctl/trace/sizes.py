"""What gives this MSS? The arithmetic of :mod:`xfrmctl.pmtu` backwards, and values that are somebody's habit.

Only exact hits count: a clamp writes one number, and whoever chose it had a reason that gives this very number.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from xfrmctl.model.sa import Mode
from xfrmctl.model.sizes import IP_HEADER, TCP_HEADER
from xfrmctl.model.suite import Suite
from xfrmctl.pmtu.explain import shown
from xfrmctl.pmtu.overhead import inner_mtu, outer_mtu_for
from xfrmctl.pmtu.spelling import parse_suite

PATHS = {
    1500: "Ethernet",
    1492: "PPPoE",
    1480: "IP in IP",
    1476: "GRE",
    1460: "some clouds",
    1454: "PPPoE over an access network with L2TP",
    1400: "a usual tunnel MTU",
    1280: "the smallest of IPv6",
    9000: "jumbo frames",
}
"""Path MTUs that are met, the usual ones first."""

_LINKS = {1500: "Ethernet", 1492: "PPPoE (RFC 2516)", 1480: "an IP-in-IP tunnel over Ethernet", 9000: "jumbo frames"}
_TUNNELS = {
    1476: "a GRE tunnel over a path of 1500",
    1472: "a GRE tunnel with a key over a path of 1500",
    1420: "WireGuard's usual MTU",
    1400: "a tunnel MTU of 1400, the usual advice for GRE with IPsec",
    1280: "the smallest MTU of IPv6 (RFC 8200 5)",
}
_HABITS = {
    1380: "the default of Cisco ASA and Firepower (sysopt connection tcpmss 1380)",
    1379: "AWS Site-to-Site VPN's sample configuration (ip tcp adjust-mss 1379)",
    1360: "Cisco IOS's usual ip tcp adjust-mss 1360, for ip mtu 1400",
    1359: "Alibaba Cloud VPN gateway's advice",
    1350: "Azure VPN gateway's clamp and advice",
    536: "the value for a missing option (RFC 9293 3.7.1), or a path MTU of 576",
    1220: "the value for a missing option over IPv6 (RFC 9293 3.7.1), or a path MTU of 1280",
}

_SUITES = ("aes256gcm16", "aes256-sha256", "aes256-sha384", "aes256-sha512", "aes128-sha1", "3des-md5")
"""One for each size: key lengths do not matter, and chacha20poly1305 costs what AES-GCM costs."""

MOST = 6


@dataclass(frozen=True, slots=True)
class Fit:
    """One explanation of an MSS, in words; the suite and the path where it is IPsec's."""

    text: str
    suite: str = ""
    outer_mtu: int | None = None
    outer_version: int | None = None
    encap: bool = False


def explanations(mss: int, version: int, suite: Suite | None = None) -> tuple[Fit, ...]:
    """What this MSS over IPv4 or IPv6 may come from, the likelier first; empty where nothing gives it.

    ``suite`` is one that the operator knows to be in use: then any path MTU that gives the MSS with it is named, too.
    """
    inner = mss + IP_HEADER[version] + TCP_HEADER
    found: list[Fit] = list(_known_suite(inner, suite)) if suite is not None else []
    if mss in _HABITS:
        found.append(Fit(_HABITS[mss]))
    for table, words in ((_LINKS, "the MTU {} of {}"), (_TUNNELS, "the MTU {}: {}")):
        if inner in table:
            found.append(Fit(words.format(inner, table[inner])))
    found += _suites(inner)
    return tuple(found[:MOST])


def inner_mtu_fits(inner: int) -> tuple[Fit, ...]:
    """Which tunnel has this inner MTU over a path that is met."""
    return tuple(_suites(inner))[:MOST]


def _known_suite(inner: int, suite: Suite) -> Iterator[Fit]:
    for version in (4, 6):
        for encap in (False, True):
            low = outer_mtu_for(inner, suite, version, encap, Mode.TUNNEL)
            high = outer_mtu_for(inner + 1, suite, version, encap, Mode.TUNNEL) - 1
            if low <= high:
                yield Fit(_spelled(shown(suite), version, encap, f"{low}-{high}"), shown(suite), low, version, encap)


def _spelled(suite: str, version: int, encap: bool, path: str) -> str:
    return f"ESP {suite}, outer IPv{version}{', in UDP (NAT traversal)' if encap else ''}, path MTU {path}"


def _suites(inner: int) -> Iterator[Fit]:
    for path, kind in PATHS.items():
        for version in (4, 6):
            for encap in (False, True):
                for suite in map(parse_suite, _SUITES):
                    if _gives(inner, path, suite, version, encap):
                        text = _spelled(shown(suite), version, encap, f"{path} ({kind})")
                        yield Fit(text, shown(suite), path, version, encap)


def _gives(inner: int, path: int, suite: Suite, version: int, encap: bool) -> bool:
    try:
        return inner_mtu(path, suite, version, encap) == inner
    except ValueError:
        return False
