"""``-m policy`` (``net/netfilter/xt_policy.c``): which transforms of XFRM a packet has behind it, or before it.

``--dir in`` asks what it was decrypted with, ``--dir out`` what the policies are going to encrypt it with: in FORWARD
and POSTROUTING that is known already. Without ``--strict`` only the first element counts, and one transform that fits
it is enough; with it every transform must fit the element at its place, the innermost at the first.
"""

from ipaddress import ip_network

from xfrmctl.netfilter.options import number
from xfrmctl.netfilter.packet import AH, ESP, Applied, Packet
from xfrmctl.netfilter.rules import Match, Option
from xfrmctl.netfilter.truth import Truth, depends, yes_no

_PROTOCOLS = {"esp": ESP, "ah": AH, "ipcomp": 108}


def policy_match(match: Match, packet: Packet) -> Truth:
    """Whether the packet has, or has not, come or to go through what the match describes."""
    direction = match.get("--dir")
    inbound = direction is not None and direction.value == "in"
    applied = packet.came_through if inbound else packet.goes_through
    whence = "decrypted" if inbound else "to be encrypted"
    if applied is None:
        return depends(f"whether XFRM {'has decrypted' if inbound else 'will encrypt'} the packet")
    pol = match.get("--pol")
    if not applied:
        return yes_no(
            pol is not None and pol.value == "none", f"it was not {whence}" if inbound else f"it is not {whence}"
        )
    if pol is not None and pol.value == "none":
        return yes_no(False, f"it is {whence}")
    elements = _elements(match)
    said = f"it is {whence} by " + ", ".join(_spelled(a) for a in applied)
    if match.get("--strict"):
        hit = len(elements) == len(applied) and all(_fits(e, a) for e, a in zip(elements, applied, strict=True))
        return yes_no(hit, said)
    return yes_no(any(_fits(elements[0], a) for a in applied), said)


def _elements(match: Match) -> list[list[Option]]:
    found: list[list[Option]] = [[]]
    for option in match.options:
        if option.name == "--next":
            found.append([])
        elif option.name not in ("--dir", "--pol", "--strict"):
            found[-1].append(option)
    return found


def _fits(element: list[Option], applied: Applied) -> bool:
    return all(_says(option, applied) != option.negated for option in element)


def _says(option: Option, applied: Applied) -> bool:
    match option.name:
        case "--reqid":
            return applied.reqid == number(option.value)
        case "--spi":
            return applied.spi == number(option.value)
        case "--proto":
            return applied.protocol == (_PROTOCOLS.get(option.value) or number(option.value))
        case "--mode":
            return applied.mode == option.value
        case "--tunnel-src":
            return applied.source in ip_network(option.value, strict=False)
        case "--tunnel-dst":
            return applied.destination in ip_network(option.value, strict=False)
    return False


def _spelled(applied: Applied) -> str:
    name = next((n for n, number in _PROTOCOLS.items() if number == applied.protocol), str(applied.protocol))
    return f"{name} {applied.mode} reqid {applied.reqid}"
