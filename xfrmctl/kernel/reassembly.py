"""What the kernel counts of IP fragments, ESP's and everybody's: it puts them together before ESP sees them.

Strangers may send fragments, too, so memory for incomplete packets is bounded: beyond ``ipfrag_high_thresh`` (and
``ip6frag_high_thresh``, bytes) new fragments are dropped until some time out (``ipfrag_time``), which counts as failed.
The limits are the kernel's, per network namespace; we count and tell, and change none.
"""

from pathlib import Path

from xfrmctl.model.snapshot import ReassemblyInfo

NET = Path("/proc/thread-self/net")
LIMITS = {4: Path("/proc/sys/net/ipv4/ipfrag_high_thresh"), 6: Path("/proc/sys/net/ipv6/ip6frag_high_thresh")}


def reassembly(net: Path = NET, limits: dict[int, Path] = LIMITS) -> list[ReassemblyInfo]:
    """Both families of this network namespace, those that it has."""
    found: list[ReassemblyInfo] = []
    for family, counters in ((4, _snmp(_text(net / "snmp"))), (6, _snmp6(_text(net / "snmp6")))):
        if not counters:
            continue
        words = _text(net / ("sockstat" if family == 4 else "sockstat6")).split()
        limit = _text(limits[family]).strip()
        found.append(
            ReassemblyInfo(
                family=family,
                fragments=counters.get("ReasmReqds", 0),
                packets=counters.get("ReasmOKs", 0),
                failed=counters.get("ReasmFails", 0),
                timed_out=counters.get("ReasmTimeout", 0),
                made=counters.get("FragCreates", 0),
                memory=_memory(words),
                memory_limit=int(limit) if limit.isdecimal() else 0,
            )
        )
    return found


def _text(file: Path) -> str:
    """Nothing for what this kernel does not have."""
    try:
        return file.read_text()
    except OSError:
        return ""


def _snmp(text: str) -> dict[str, int]:
    """The lines of IP in ``/proc/net/snmp``: names, then values."""
    rows = [line.split()[1:] for line in text.splitlines() if line.startswith("Ip:")]
    return dict(zip(rows[0], map(int, rows[1]), strict=False)) if len(rows) == 2 else {}


def _snmp6(text: str) -> dict[str, int]:
    rows = (line.split() for line in text.splitlines())
    return {row[0].removeprefix("Ip6"): int(row[1]) for row in rows if len(row) == 2 and row[0].startswith("Ip6")}


def _memory(words: list[str]) -> int:
    """``FRAG: inuse 0 memory 0`` in ``/proc/net/sockstat``, ``FRAG6:`` in ``sockstat6``."""
    at = next((n for n, word in enumerate(words) if word in ("FRAG:", "FRAG6:")), None)
    return int(words[at + 4]) if at is not None and len(words) > at + 4 else 0
