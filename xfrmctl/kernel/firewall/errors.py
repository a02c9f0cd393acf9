"""The gateway's own path-MTU errors to hosts: limited by host, and watched as they leave. Pure.

The kernel makes a frag-needed, or a Packet Too Big, for each packet that a tunnel does not take, without any limit
(``icmpv4_mask_allow``; ``net.ipv6.icmp.ratemask``). So no host's errors are lost because of another's, but a host can
have as many made as it likes. And the operator's firewall may eat them, which is his right, but must not go unseen:
what is larger than the tunnel then vanishes without a word. In the mangle table of each family::

    -A OUTPUT       -p icmp -m icmp --icmp-type 3/4 -j XFRMCTL-TELL
    -A POSTROUTING  -p icmp -m icmp --icmp-type 3/4 -j XFRMCTL-TOLD
    -A XFRMCTL-TELL -m hashlimit --hashlimit-above 100/sec … --hashlimit-mode dstip … -j DROP
    -A XFRMCTL-TELL -m addrtype --src-type LOCAL                        made: counted before any rule of the operator's
    -A XFRMCTL-TOLD -m addrtype --src-type LOCAL                        left: counted behind all that may drop them

* A limit for each destination, which is the host that has sent too much (RFC 1812 4.3.2.8, RFC 4443 2.4 f). An IPv6
  host may have many addresses, so there it is one for each /64. A full table would drop what it has no room for; an
  entry lives for a second, so that takes 65,536 hosts at once.
* No rule of ours accepts anything: an ACCEPT ends the walk through its own chain only, so it could not overrule a DROP
  of another table or chain, and it is the operator's decision.
* Errors that go back into a tunnel by its policy have the far host as their source (RFC 4301 6.2) and are not counted.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from xfrmctl.kernel.ownership import TELL_CHAIN, TOLD_CHAIN
from xfrmctl.model.address import IPAddress
from xfrmctl.netfilter.packet import ICMP, ICMPV6, Packet, Stranger
from xfrmctl.netfilter.save import RulesError, parse
from xfrmctl.netfilter.walk import walk

LIMIT_PER_S: Final = 100
BURST: Final = 200
MAX_HOSTS: Final = 65536

_HOOKS = {TELL_CHAIN: "OUTPUT", TOLD_CHAIN: "POSTROUTING"}
_ERROR = {4: "-p icmp -m icmp --icmp-type 3/4", 6: "-p ipv6-icmp -m icmp6 --icmpv6-type 2"}
_TYPE = {4: (ICMP, 3, 4), 6: (ICMPV6, 2, 0)}
_ACCEPT = {
    4: "iptables -I OUTPUT -p icmp --icmp-type fragmentation-needed -j ACCEPT",
    6: "ip6tables -I OUTPUT -p icmpv6 --icmpv6-type packet-too-big -j ACCEPT",
}
_WAY = (
    ("raw", "OUTPUT"),
    ("mangle", "OUTPUT"),
    ("filter", "OUTPUT"),
    ("security", "OUTPUT"),
    ("mangle", "POSTROUTING"),
)


@dataclass(slots=True)
class Standing:
    """What the mangle table of one family holds of this. ``made`` and ``left`` are counters, packets."""

    digest: str = ""
    rules: int = 0
    chains: set[str] = field(default_factory=set)
    jumps: list[str] = field(default_factory=list)
    made: int = 0
    left: int = 0


def rules(family: int) -> list[str]:
    """The rules of both chains, without the digest."""
    mask = " --hashlimit-dstmask 64" if family == 6 else ""
    limit = (
        f"-m hashlimit --hashlimit-above {LIMIT_PER_S}/sec --hashlimit-burst {BURST} --hashlimit-mode dstip"
        f" --hashlimit-name xfrmctl-{family}{mask} --hashlimit-htable-max {MAX_HOSTS} --hashlimit-htable-expire 1000"
    )
    local = "-m addrtype --src-type LOCAL"
    return [f"{TELL_CHAIN} {limit} -j DROP", f"{TELL_CHAIN} {local}", f"{TOLD_CHAIN} {local}"]


def digest(family: int) -> str:
    """Names the rules."""
    return hashlib.sha256("\n".join(rules(family)).encode()).hexdigest()[:16]


def stands(family: int, have: Standing) -> bool:
    """Whether exactly these rules stand, and both hooks lead to them."""
    return have.digest == digest(family) and have.rules == len(rules(family)) and len(have.jumps) == len(_HOOKS)


def restore_text(family: int, have: Standing) -> str:
    """iptables-restore --noflush: all of it anew, in one step; "" where it stands already."""
    if stands(family, have):
        return ""
    lines = [f":{chain} - [0:0]" for chain in _HOOKS]
    lines += [f"-D {line.removeprefix('-A ')}" for line in have.jumps]
    first, *rest = rules(family)
    chain, _, body = first.partition(" ")
    lines.append(f'-A {chain} -m comment --comment "{digest(family)}" {body}')
    lines += [f"-A {rule}" for rule in rest]
    lines += [f"-{'I' if hook == 'OUTPUT' else 'A'} {hook} {_ERROR[family]} -j {c}" for c, hook in _HOOKS.items()]
    return "\n".join(["*mangle", *lines, "COMMIT", ""])


def remove_text(have: Standing) -> str:
    """iptables-restore --noflush: the jumps, then the chains. "" if there is nothing."""
    lines = [f"-D {line.removeprefix('-A ')}" for line in have.jumps]
    for command in "FX":
        lines += [f"-{command} {chain}" for chain in _HOOKS if chain in have.chains]
    return "\n".join(["*mangle", *lines, "COMMIT", ""]) if lines else ""


_LINE = re.compile(r"^(?:\[(\d+):\d+\] )?(-A (\S+) .*)$")
_COMMENT = re.compile(r'--comment "?([0-9a-f]{16})"?')
_JUMP = re.compile(rf" -[jg] ({TELL_CHAIN}|{TOLD_CHAIN})$")


def parse_save(text: str) -> Standing:
    """Read ``iptables-save -c -t mangle``."""
    found = Standing()
    for line in text.splitlines():
        if line.startswith(":"):
            found.chains |= {line[1:].split()[0]} & set(_HOOKS)
        match = _LINE.match(line)
        if match is None:
            continue
        packets, body, chain = int(match[1] or 0), match[2], match[3]
        if chain in _HOOKS:
            found.rules += 1
            comment = _COMMENT.search(body)
            found.digest = comment[1] if comment else found.digest
            if comment is None:
                found.made, found.left = (packets, found.left) if chain == TELL_CHAIN else (found.made, packets)
        elif _JUMP.search(body):
            found.jumps.append(body)
    return found


def complaint(family: int, made: int, lost: int, by: str) -> str:
    """That so many of those made did not leave; ``by``: who drops them, as :func:`culprit` says."""
    return (
        "the host's firewall drops the gateway's ICMP errors to hosts whose packets are too large for a tunnel"
        f" (IPv{family}): {lost} of {made} since the last look. {by}. TCP goes on by its MSS, but other large packets"
        f" with DF vanish without a word: accept these errors, such as by {_ACCEPT[family]}"
    )


def culprit(text: str, family: int, ends: tuple[IPAddress, IPAddress] | None, device: str) -> str:
    """Which rule of ``iptables-save`` drops an error from the first to the second address, leaving by ``device``."""
    hidden = "No rule of iptables does it, so look at nft list ruleset"
    if ends is None:
        return hidden
    protocol, kind, code = _TYPE[family]
    error = Packet(
        source=ends[0],
        destination=ends[1],
        protocol=protocol,
        icmp_type=kind,
        icmp_code=code,
        state="RELATED",
        oif=device,
    )
    try:
        found = parse(text, family)
    except RulesError:
        return hidden
    for table, hook in _WAY:
        way = walk(found, table, hook, error, Stranger())
        if way is not None and not way.passes:
            what = f"the rule [{way.by.text}]" if way.by is not None else f"the policy of {hook}"
            return f"It is {what} in the table {table}"
    return hidden
