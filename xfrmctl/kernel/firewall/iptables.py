"""Runs iptables-restore, iptables-save and ipset, and says what went wrong and how to cure it.

iptables has two variants with separate rules, ``nft`` and ``legacy``; which one ``iptables`` is, is the
distribution's choice. We use that one. Rules of ours in the other one (an operator switched over) are found by
``cleanup``, and foreign rules in both are reported: packets pass through both, in an order that surprises.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from xfrmctl.kernel.firewall.clamp import Standing, parse_save
from xfrmctl.model.errors import XfrmctlError

TIMEOUT_S = 60
LOCK_WAIT_S = 10

_CURES = (
    ("set type not supported", "load the module ip_set_hash_netnet (modprobe ip_set_hash_netnet)"),
    ("Kernel support protocol", "load the module ip_set (modprobe ip_set)"),
    ("Cannot open session to kernel", "run as root, and load the module ip_set (modprobe ip_set)"),
    ("Permission denied", "run as root or with CAP_NET_ADMIN"),
    ("Could not fetch rule set generation id", "run as root or with CAP_NET_ADMIN"),
    ("can't initialize ip", "run as root; the legacy variant needs the modules iptable_mangle, ip6table_mangle"),
    ("Another app is currently holding the xtables lock", "wait for the other program that changes iptables"),
    ("does not exist", "another program removes our sets or chains: find it; the next round puts them back"),
    ("RULE_APPEND failed", "load the modules xt_set, xt_TCPMSS, xt_tcpmss, xt_bpf, xt_limit and xt_NFQUEUE"),
    ("Couldn't load match `bpf'", "install iptables with its extension xt_bpf"),
    ("Hash is full", "the set has reached its maximum of members"),
)


class FirewallError(XfrmctlError):
    """iptables or ipset refused; the message has the offending line and the cure."""


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
        return shutil.which(self.program("restore")) is not None

    def text(self) -> str:
        """The mangle table as the program saves it, with counters."""
        return run([self.program("save"), "-c", "-t", "mangle"])

    def save(self) -> Standing:
        """What the mangle table holds of the clamp, with counters."""
        return parse_save(self.text())

    def restore(self, text: str) -> None:
        """Apply a text of :mod:`xfrmctl.kernel.firewall.clamp`, all or nothing."""
        if text:
            run([self.program("restore"), "--noflush", "--wait", str(LOCK_WAIT_S)], text)

    def in_use(self) -> bool:
        """Whether the variant may hold rules. Asking the legacy programs makes their tables, so look first."""
        if self.variant != "legacy":
            return self.available()
        names = Path("/proc/thread-self/net", "ip_tables_names" if self.family == 4 else "ip6_tables_names")
        return self.available() and names.exists() and bool(names.read_text().strip())

    def foreign_rules(self) -> int:
        """How many rules this variant has in all tables, ours apart."""
        text = run([self.program("save")])
        return sum(line.startswith("-A ") and "XFRMCTL-" not in line for line in text.splitlines())


class Ipset:
    """The program ipset."""

    def names(self) -> list[str]:
        """All sets."""
        return run(["ipset", "list", "-n"]).split() if shutil.which("ipset") else []

    def save(self, name: str) -> str:
        """One set as text."""
        return run(["ipset", "save", name])

    def restore(self, text: str) -> None:
        """Apply commands; what is there already or gone already is no failure."""
        if text:
            run(["ipset", "restore", "-exist"], text)


def active_variant() -> str:
    """Which variant the plain name ``iptables`` is: "nft" or "legacy"; "" if unknown or not installed."""
    if shutil.which("iptables") is None:
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


def run(command: list[str], text: str = "") -> str:
    """Run a program with ``text`` as its input and give its output. Raises FirewallError."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        package = "ipset" if command[0] == "ipset" else "iptables"
        raise FirewallError(f"{command[0]} is not installed: install the package {package}") from None
    except subprocess.TimeoutExpired:
        raise FirewallError(f"{command[0]} did not finish within {TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise FirewallError(_explain(command[0], done.stderr, text))
    return done.stdout


def _explain(program: str, stderr: str, text: str) -> str:
    message = " ".join(line.strip() for line in stderr.splitlines() if line.strip())
    message = re.sub(r" ?Try `\S+ -h' or '\S+ --help' for more information\.", "", message)
    at = re.search(r"(?:Error occurred at line:|Error in line|line) (\d+)", message)
    lines = text.splitlines()
    if at is not None and 0 < int(at[1]) <= len(lines):
        message += f" [{lines[int(at[1]) - 1]}]"
    cure = next((cure for sign, cure in _CURES if sign in message), "")
    return f"{program}: {message}" + (f": {cure}" if cure else "")
