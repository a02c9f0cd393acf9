"""Ready lines for either end, each with its place in the product's configuration.

The peer's own names are not known: NAME stands for that of its connection or child, P and the like for those of Cisco's
profiles. WAN, OUTSIDE and GATEWAY stand for devices and routers of whoever types the line.
"""

from xfrmctl.model.finding import HERE, PEER, Line

XFRMCTL, SHELL, STRONGSWAN, LIBRESWAN, CISCO = "xfrmctl", "shell", "strongSwan", "libreswan", "Cisco IOS"

CONNECTION, CHILD = "connections.NAME", "connections.NAME.children.NAME"
"""Sections of xfrmctl.yaml, and of swanctl.conf, which are named alike."""

KERNEL_NETLINK = "strongswan.conf: charon.plugins.kernel-netlink"
SWAN_SECRET = "secrets.ike-NAME"
CONN, CONN6, SECRETS = "conn NAME", "conn NAME-IPV6", "ipsec.secrets"
CONFIGURE = "configure terminal"

NOTHING_THERE = "nothing: the fault is at this end alone"
"""The peer's cure of a fault that it has no part in."""


def shell(text: str, end: str = HERE) -> Line:
    """A command of Linux."""
    return Line(end=end, product=SHELL, text=text)


def xfrmctl(text: str, place: str = "") -> Line:
    """A command, or a key of xfrmctl.yaml, here."""
    return Line(end=HERE, product=XFRMCTL, text=text, place=place)


def xfrmctl_there(text: str, place: str = "") -> Line:
    """The same for a peer."""
    return Line(end=PEER, product=XFRMCTL, text=text, place=place)


def strongswan(text: str, place: str = "") -> Line:
    """A command, or an option of swanctl.conf."""
    return Line(end=PEER, product=STRONGSWAN, text=text, place=place)


def libreswan(text: str, place: str = CONN) -> Line:
    """An option of ipsec.conf; a command where ``place`` is ""."""
    return Line(end=PEER, product=LIBRESWAN, text=text, place=place)


def cisco(*lines: str) -> Line:
    """Lines of an IOS configuration."""
    return Line(end=PEER, product=CISCO, text="\n".join(lines), place=CONFIGURE)


def cisco_asks(text: str) -> Line:
    """A command of IOS."""
    return Line(end=PEER, product=CISCO, text=text)
