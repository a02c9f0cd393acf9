"""The programs iptables-restore, iptables-save and ipset, and the kernel's ipsets.

iptables has two variants with separate rules, ``nft`` and ``legacy``; which one ``iptables`` is, is the
distribution's choice. We use that one. Rules of ours in the other one (an operator switched over) are found by
``cleanup``, and foreign rules in both are reported: packets pass through both, in an order that surprises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from errno import EINVAL, ENOENT, EPERM, EPROTONOSUPPORT
from pathlib import Path

from xfrmctl.kernel.firewall.clamp import Standing, parse_save
from xfrmctl.kernel.firewall.programs import FirewallError, installed, run
from xfrmctl.kernel.netlink import ipset
from xfrmctl.kernel.netlink.constants import NETLINK_NETFILTER
from xfrmctl.kernel.netlink.socket import NetlinkError, NetlinkSocket, Request

LOCK_WAIT_S = 10
FAMILIES = (4, 6)
VARIANTS = ("", "nft", "legacy")
LEGACY_TABLES = ("filter", "mangle", "nat", "raw", "security")
NET, MODULES = Path("/proc/thread-self/net"), Path("/sys/module")


@dataclass(frozen=True, slots=True)
class Tables:
    """One variant of iptables for one family (4 or 6). ``variant``: "", "nft" or "legacy"."""

    family: int
    variant: str = ""

    def program(self, name: str) -> str:
        """``save`` or ``restore`` of this variant."""
        stem = "iptables" if self.family == 4 else "ip6tables"
        return f"{stem}-{self.variant}-{name}" if self.variant else f"{stem}-{name}"

    def available(self) -> bool:
        """Whether the program is there."""
        return installed(self.program("restore"))

    def text(self) -> str:
        """The mangle table as the program saves it, with counters."""
        return run([self.program("save"), "-c", "-t", "mangle"])

    def everything(self) -> str:
        """All tables as the program saves them, with counters."""
        return "".join(run([self.program("save"), "-c", *table]) for table in self._each())

    def save(self) -> Standing:
        """What the mangle table holds of the clamp, with counters."""
        return parse_save(self.text())

    def restore(self, text: str) -> None:
        """Apply a text of :mod:`xfrmctl.kernel.firewall.clamp`, all or nothing."""
        if text:
            run([self.program("restore"), "--noflush", "--wait", str(LOCK_WAIT_S)], text)

    def in_use(self) -> bool:
        """Whether the variant may hold rules. Asking the legacy programs makes their tables, so look first."""
        return self.available() and (self.variant != "legacy" or bool(self.legacy_tables()))

    def legacy_tables(self, net: Path = NET, modules: Path = MODULES) -> list[str]:
        """The tables of the legacy variant in this network namespace.

        The list is root's to read. Who is not root takes those whose modules some namespace of this machine has made
        the kernel load; tables that are built into the kernel cannot be seen then.
        """
        stem = "ip" if self.family == 4 else "ip6"
        try:
            return (net / f"{stem}_tables_names").read_text().split()
        except PermissionError:
            return [name for name in LEGACY_TABLES if (modules / f"{stem}table_{name}" / "initstate").exists()]
        except OSError:  # the kernel has none
            return []

    def _each(self) -> list[list[str]]:
        """Options that name the tables one by one where the program would have to read the list of root's."""
        return [["-t", name] for name in self.legacy_tables()] if self.variant == "legacy" else [[]]

    def foreign_rules(self) -> int:
        """How many rules this variant has in all tables, ours apart."""
        text = "".join(run([self.program("save"), *table]) for table in self._each())
        return sum(line.startswith("-A ") and "XFRMCTL-" not in line for line in text.splitlines())


def mangle_text(family: int) -> str:
    """The mangle table of a family as the plain iptables saves it; "" where there is no iptables."""
    tables = Tables(family)
    return tables.text() if tables.available() else ""


class Ipset:
    """The sets: read by the program ipset, written by netlink, for a change must not wait for a program to start."""

    def __init__(self) -> None:
        self._socket: NetlinkSocket | None = None

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def names(self) -> list[str]:
        """All sets."""
        return run(["ipset", "list", "-n"]).split() if installed("ipset") else []

    def save(self, name: str) -> str:
        """One set as text."""
        return run(["ipset", "save", name])

    def kind(self, name: str) -> str:
        """The type of a set, such as hash:net,net; "" where there is none. Raises FirewallError."""
        lines = run(["ipset", "list", "-t", name]).splitlines()
        return next((line.partition(": ")[2].strip() for line in lines if line.startswith("Type:")), "")

    def holds(self, name: str, element: str) -> bool:
        """Whether the kernel finds an element in a set. Raises FirewallError where it cannot be asked."""
        try:
            run(["ipset", "test", name, element])
        except FirewallError as error:
            if "is NOT in set" in str(error):
                return False
            raise
        return True

    def write(self, requests: Sequence[Request]) -> None:
        """Carry out requests of :mod:`xfrmctl.kernel.netlink.ipset`; what is there, or gone, already is no failure.

        Raises FirewallError for the first that failed, after all.
        """
        if not requests:
            return
        try:
            if self._socket is None:
                self._socket = NetlinkSocket(NETLINK_NETFILTER)
            errors = self._socket.transact(requests)
        except OSError as error:
            raise _refused(NetlinkError(error.errno or EINVAL)) from error
        errors = {
            at: error for at, error in errors.items() if error.code != ENOENT or not ipset.takes_away(requests[at])
        }
        if errors:
            raise _refused(errors[min(errors)])


_CURES = {
    EPERM: "run as root or with CAP_NET_ADMIN",
    EINVAL: "load the modules ip_set and ip_set_hash_netnet (modprobe ip_set_hash_netnet)",
    EPROTONOSUPPORT: "load the modules ip_set and ip_set_hash_netnet (modprobe ip_set_hash_netnet)",
    ENOENT: "another program removes our sets: find it; the next round puts them back",
    ipset.NO_SUCH_TYPE: "load the module ip_set_hash_netnet (modprobe ip_set_hash_netnet)",
    ipset.IN_USE: "a rule of another program names our set: find it",
    ipset.FULL: "the set has reached its maximum of members",
}


def _refused(error: NetlinkError) -> FirewallError:
    cure = _CURES.get(error.code)
    return FirewallError(f"ipset: error {error.code} ({error})" + (f": {cure}" if cure else ""))


def active_variant() -> str:
    """Which variant the plain name ``iptables`` is: "nft" or "legacy"; "" if unknown or not installed."""
    if not installed("iptables"):
        return ""
    text = run(["iptables", "--version"])
    return "nft" if "nf_tables" in text else "legacy" if "legacy" in text else ""


def mixed_variants() -> str:
    """A warning if both variants hold rules, else ""."""
    active = active_variant()
    other = {"nft": "legacy", "legacy": "nft"}.get(active)
    if other is None:
        return ""
    for family in (4, 6):
        tables = Tables(family, other)
        if not tables.in_use():
            continue
        try:
            count = tables.foreign_rules()
        except FirewallError:
            continue  # the kernel has no support for it, so it holds no rules
        if count:
            return (
                f"iptables is the {active} variant, but {count} rules stand in the {other} variant"
                f" (IPv{family}): packets pass both; move them over (iptables-{other}-save shows them)"
            )
    return ""
