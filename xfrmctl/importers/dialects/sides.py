"""left and right: which of them is this gateway."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address

from xfrmctl.importers.origin import Setting
from xfrmctl.model.address import IPAddress

_OURS = ("%defaultroute",)
_OPEN = ("%any", "%any4", "%any6", "0.0.0.0", "::", "%group", "%opportunisticgroup", "%opportunistic")
HOST = "host"
"""What the options ``left`` and ``right`` themselves are called in tables."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The options of both ends without their left or right. ``guessed``: neither is known to be this gateway."""

    local: dict[str, Setting]
    remote: dict[str, Setting]
    common: dict[str, Setting]
    guessed: bool = False


def sides(settings: dict[str, Setting], ours: Collection[IPAddress], *, open_is_remote: bool) -> Sides:
    """Tell the two ends apart by their addresses; where they do not say, left is this gateway.

    With libreswan an end that is any is the remote one (``open_is_remote``); with strongSwan it may be either.
    """
    left = {_bare(name, "left"): s for name, s in settings.items() if name.startswith("left")}
    right = {_bare(name, "right"): s for name, s in settings.items() if name.startswith("right")}
    common = {name: s for name, s in settings.items() if not name.startswith(("left", "right"))}
    here, there = (_host(end) for end in (left, right))
    if _is_ours(here, ours):
        return Sides(left, right, common)
    if _is_ours(there, ours) or (open_is_remote and here in _OPEN and there not in _OPEN):
        return Sides(right, left, common)
    both = all(host and not host.startswith("%") for host in (here, there))
    return Sides(left, right, common, guessed=both)


def _bare(name: str, side: str) -> str:
    return name.removeprefix(side) or HOST


def _host(end: dict[str, Setting]) -> str:
    return end[HOST].value.strip().lower() if HOST in end else ""


def _is_ours(host: str, ours: Collection[IPAddress]) -> bool:
    if host in _OURS:
        return True
    for word in host.split(","):
        try:
            if ip_address(word.strip()) in ours:
                return True
        except ValueError:
            continue
    return False
