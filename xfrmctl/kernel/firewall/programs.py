"""Runs the programs that change the firewall, and says what went wrong and how to cure it."""

import os
import re
import shutil
import subprocess

from xfrmctl.model.errors import XfrmctlError

TIMEOUT_S = 60
_PACKAGES = {"ipset": "ipset", "nft": "nftables"}

_CURES = (
    ("set type not supported", "load the module ip_set_hash_netnet (modprobe ip_set_hash_netnet)"),
    ("Kernel support protocol", "load the module ip_set (modprobe ip_set)"),
    ("Cannot open session to kernel", "run as root, and load the module ip_set (modprobe ip_set)"),
    ("Permission denied", "run as root or with CAP_NET_ADMIN"),
    ("Operation not permitted", "run as root or with CAP_NET_ADMIN"),
    ("Could not fetch rule set generation id", "run as root or with CAP_NET_ADMIN"),
    ("can't initialize ip", "run as root; the legacy variant needs the modules iptable_mangle, ip6table_mangle"),
    ("Another app is currently holding the xtables lock", "wait for the other program that changes iptables"),
    ("does not exist", "another program removes our sets or chains: find it; the next round puts them back"),
    ("RULE_APPEND failed", "load the modules xt_set, xt_TCPMSS, xt_tcpmss, xt_bpf, xt_limit and xt_NFQUEUE"),
    ("Couldn't load match `bpf'", "install iptables with its extension xt_bpf"),
    ("Hash is full", "the set has reached its maximum of members: take gateway.firewall: nftables"),
    ("Error: No such file", "another program removes our table or parts of it: the next round puts them back"),
    ("rule: No such file", "load the modules of nf_tables (modprobe nf_tables); or another program removes our table"),
    ("not supported", "load the module nf_tables (modprobe nf_tables); Linux 5.6 is the first with what we need"),
)


class FirewallError(XfrmctlError):
    """iptables, ipset or nft refused; the message has the offending line and the cure."""

    cause = "the kernel or the program does not take a rule of ours"
    cure = "what is missing is tried again every minute; `xfrmctl diagnose` says what the lack of it costs"


def installed(program: str) -> bool:
    """Whether a program is there."""
    return shutil.which(program) is not None


def run(command: list[str], text: str = "") -> str:
    """Run a program with ``text`` as its input and give its output. Raises FirewallError."""
    language = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=language
        )
    except FileNotFoundError:
        package = _PACKAGES.get(command[0], "iptables")
        raise FirewallError(f"{command[0]} is not installed: install the package {package}") from None
    except subprocess.TimeoutExpired:
        raise FirewallError(f"{command[0]} did not finish within {TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise FirewallError(explain(command[0], done.stderr, text))
    return done.stdout


def explain(program: str, stderr: str, text: str) -> str:
    """One sentence of what a program said about ``text``: its message, the line it means, the cure."""
    said = [line.strip() for line in stderr.splitlines() if line.strip(" ^~\t")]
    message = " ".join(said[:1] if program == "nft" else said)  # nft repeats itself for every element of a list
    message = re.sub(r" ?Try `\S+ -h' or '\S+ --help' for more information\.", "", message)
    at = re.search(r"(?:Error occurred at line:|Error in line|line) (\d+)|^/dev/stdin:(\d+):", message)
    lines = text.splitlines()
    number = int(at[1] or at[2]) if at is not None else 0
    if 0 < number <= len(lines):
        message += f" [{lines[number - 1].strip()}]"
    cure = next((cure for sign, cure in _CURES if sign in message), "")
    return f"{program}: {message}" + (f": {cure}" if cure else "")
