"""The rules of the ICMP guard as text, both ways. Pure.

In the mangle table of each family, before everything else that looks at INPUT, which runs behind reassembly: a rule in
PREROUTING could be evaded by sending the error in fragments (KERNEL-FACTS 7)::

    -A INPUT -p icmp -m icmp --icmp-type 3/4 -j XFRMCTL-ICMP
    -A XFRMCTL-ICMP -m comment --comment "DIGEST" -m bpf --bytecode "…" -j XFRMCTL-JUDGE    quotes a peer
    -A XFRMCTL-JUDGE -m limit --limit 100/sec --limit-burst 100 -j NFQUEUE --queue-num 22598
    -A XFRMCTL-JUDGE -j DROP

* No ``--queue-bypass``: while nobody listens, or while the listener hangs and the queue is full, what names a peer is
  dropped. Nothing but such errors ever enters the queue, so that data does not depend on it.
* iptables has no set match for an address inside of the payload, so peers are compared by BPF, as many to a rule as
  iptables-restore takes (words of 1,023 characters; the kernel would take 64 instructions). The program of a rule
  first looks whether the address lies between its lowest and its highest one.
* IPv4: the quoted destination, exactly. IPv6: a 32-bit hash of it; a stranger's address with the same hash enters the
  queue and is let through there. An IPv6 error with extension headers is always judged: the offset is not fixed then.
* The limit keeps a flood from eating the processor. Beyond it errors are lost; the path-MTU engine does not need them.

The comment names the content, so that a look at iptables-save tells whether all of it still stands.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from xfrmctl.kernel.desired import IcmpGuard
from xfrmctl.kernel.ownership import CHAIN, ICMP_CHAIN, ICMP_QUEUE, JUDGE_CHAIN
from xfrmctl.model.address import IPAddress

LIMIT = "-m limit --limit 100/sec --limit-burst 100"
_HOOKS = {
    4: f"INPUT -p icmp -m icmp --icmp-type 3/4 -j {ICMP_CHAIN}",
    6: f"INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 2 -j {ICMP_CHAIN}",
}

# Classic BPF (linux/filter.h, linux/bpf_common.h): class, size or operation, mode or source.
_LD_ABS, _LD_IND, _LD_BYTE, _LDX_MSH, _LDX_MEM = 0x20, 0x40, 0x30, 0xB1, 0x61
_ST, _ADD_X, _MUL_K, _JEQ, _JGT, _JGE, _RET = 0x02, 0x0C, 0x24, 0x15, 0x25, 0x35, 0x06
_MATCH, _NO_MATCH = 65535, 0
_PER_RULE = {4: 44, 6: 36}
"""Addresses of one program. A comparison has at most 19 characters."""

_QUOTED_DESTINATION_4 = 8 + 16
"""Behind the outer header: the ICMP header, then 16 octets of the quoted one."""

_QUOTED_DESTINATION_6 = 40 + 8 + 24
_FACTORS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F)
_NEXT_HEADER_6, _ICMPV6 = 6, 58

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant."""


@dataclass(slots=True)
class Standing:
    """What the mangle table of one family holds of the guard. ``lines`` are as iptables-save wrote them."""

    digest: str = ""
    rules: int = 0
    chains: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    first: bool = False


def rules(guard: IcmpGuard, family: int) -> list[str]:
    """The rules of both chains, without the digest; [] where nobody of this family is to be judged or ignored."""
    judged, ignored = (sorted(a for a in side if a.version == family) for side in (guard.judged, guard.ignored))
    if not judged and not ignored:
        return []
    found: list[str] = []
    if family == 6:
        target = JUDGE_CHAIN if judged else "DROP"
        found.append(f"{ICMP_CHAIN} {_match(_with_extensions())} -j {target}")
    for target, addresses in ((JUDGE_CHAIN, judged), ("DROP", ignored)):
        found += [f"{ICMP_CHAIN} {_match(program)} -j {target}" for program in programs(addresses, family)]
    if judged:
        found.append(f"{JUDGE_CHAIN} {LIMIT} -j NFQUEUE --queue-num {ICMP_QUEUE}")
        found.append(f"{JUDGE_CHAIN} -j DROP")
    return found


def digest(lines: Sequence[str]) -> str:
    """Names the rules."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def restore_text(guard: IcmpGuard, family: int, have: Standing) -> str:
    """iptables-restore --noflush: all of the guard's rules anew, in one step; "" where they stand already."""
    wanted = rules(guard, family)
    if not wanted:
        return remove_text(have)
    if stands(guard, family, have):
        return ""
    lines = [f"-D {line.removeprefix('-A ')}" for line in have.lines if _is_hook(line)]
    lines = [f":{ICMP_CHAIN} - [0:0]", f":{JUDGE_CHAIN} - [0:0]", *lines]
    first, *rest = wanted
    chain, _, body = first.partition(" ")
    lines.append(f'-A {chain} -m comment --comment "{digest(wanted)}" {body}')
    lines += [f"-A {rule}" for rule in rest]
    lines.append(f"-I {_HOOKS[family]}")
    return "\n".join(["*mangle", *lines, "COMMIT", ""])


def remove_text(have: Standing) -> str:
    """iptables-restore --noflush: the jump, then the chains. "" if there is nothing."""
    lines = [f"-D {line.removeprefix('-A ')}" for line in have.lines if _is_hook(line)]
    lines += [f"-F {chain}" for chain in (ICMP_CHAIN, JUDGE_CHAIN) if chain in have.chains]
    lines += [f"-X {chain}" for chain in (ICMP_CHAIN, JUDGE_CHAIN) if chain in have.chains]
    return "\n".join(["*mangle", *lines, "COMMIT", ""]) if lines else ""


def stands(guard: IcmpGuard, family: int, have: Standing) -> bool:
    """Whether exactly these rules stand, and INPUT begins with them."""
    wanted = rules(guard, family)
    if not wanted:
        return not have.chains and not have.lines
    return have.first and have.rules == len(wanted) and have.digest == digest(wanted)


_RULE = re.compile(r"^(?:\[\d+:\d+\] )?(-A (\S+) .*)$")
_COMMENT = re.compile(r'--comment "?([0-9a-f]{16})"?')
_OWN_HOOK = re.compile(rf"-[jg] {CHAIN}\b")


def parse_save(text: str) -> Standing:
    """Read ``iptables-save -t mangle``. A jump of ours to another chain may stand before the guard's."""
    found, before = Standing(), False
    for line in text.splitlines():
        if line.startswith(":"):
            found.chains |= {line[1:].split()[0]} & {ICMP_CHAIN, JUDGE_CHAIN}
        match = _RULE.match(line)
        if match is None:
            continue
        body, chain = match[1], match[2]
        if chain in (ICMP_CHAIN, JUDGE_CHAIN):
            found.rules += 1
            found.lines.append(body)
            comment = _COMMENT.search(body)
            found.digest = comment[1] if comment else found.digest
        elif _is_hook(body):
            found.lines.append(body)
            found.first = chain == "INPUT" and not before
        elif chain == "INPUT" and not _OWN_HOOK.search(body):
            before = True
    return found


def _is_hook(line: str) -> bool:
    return re.search(rf"^-A (?!{ICMP_CHAIN}|{JUDGE_CHAIN}).* -[jg] {ICMP_CHAIN}\b", line) is not None


# -- BPF


def programs(addresses: Iterable[IPAddress], family: int) -> Iterator[list[Instruction]]:
    """Programs that match an error quoting a packet to one of the addresses."""
    head = _load4() if family == 4 else _load6()
    values = sorted({int(a) if family == 4 else fold(a.packed) for a in addresses})
    room = _PER_RULE[family]
    for at in range(0, len(values), room):
        yield head + _among(values[at : at + room])


def _among(values: Sequence[int]) -> list[Instruction]:
    """Whether the accumulator is one of these sorted values; jumps count from the next instruction."""
    count = len(values)
    body = [(_JGE, 0, count + 1, values[0]), (_JGT, count, 0, values[-1])]
    body += [(_JEQ, count - number, 0, value) for number, value in enumerate(values)]
    return [*body, (_RET, 0, 0, _NO_MATCH), (_RET, 0, 0, _MATCH)]


def _load4() -> list[Instruction]:
    return [(_LDX_MSH, 0, 0, 0), (_LD_IND, 0, 0, _QUOTED_DESTINATION_4)]


def _load6() -> list[Instruction]:
    """The hash of the quoted destination: the sum of its words, each times an odd constant, modulo 2^32."""
    found: list[Instruction] = []
    for number, factor in enumerate(_FACTORS):
        found += [(_LD_ABS, 0, 0, _QUOTED_DESTINATION_6 + 4 * number), (_MUL_K, 0, 0, factor)]
        if number:
            found += [(_LDX_MEM, 0, 0, 0), (_ADD_X, 0, 0, 0)]
        if number < len(_FACTORS) - 1:
            found.append((_ST, 0, 0, 0))
    return found


def fold(packed: bytes) -> int:
    """What :func:`_load6` computes of an address."""
    words = (int.from_bytes(packed[at : at + 4], "big") for at in range(0, 16, 4))
    return sum(word * factor for word, factor in zip(words, _FACTORS, strict=True)) & 0xFFFFFFFF


def _with_extensions() -> list[Instruction]:
    return [
        (_LD_BYTE, 0, 0, _NEXT_HEADER_6),
        (_JEQ, 0, 1, _ICMPV6),
        (_RET, 0, 0, _NO_MATCH),
        (_RET, 0, 0, _MATCH),
    ]


def _match(program: Sequence[Instruction]) -> str:
    code = ",".join(" ".join(map(str, instruction)) for instruction in program)
    return f'-m bpf --bytecode "{len(program)},{code}"'
