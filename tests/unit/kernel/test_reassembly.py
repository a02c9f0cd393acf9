"""What the kernel counts of IP fragments, read from its files."""

from pathlib import Path

from xfrmctl.kernel.reassembly import reassembly
from xfrmctl.model.snapshot import ReassemblyInfo

SNMP = """\
Ip: Forwarding DefaultTTL ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates
Ip: 1 64 3 40 15 4 7 0 14
Icmp: InMsgs
Icmp: 5
"""
SNMP6 = "Ip6ReasmTimeout 1\nIp6ReasmReqds 6\nIp6ReasmOKs 2\nIp6ReasmFails 1\nIp6FragCreates 0\nIcmp6InMsgs 9\n"


def files(place: Path) -> dict[int, Path]:
    found = {4: place / "limit4", 6: place / "limit6"}
    for limit in found.values():
        limit.write_text("4194304\n")
    (place / "snmp").write_text(SNMP)
    (place / "sockstat").write_text("sockets: used 5\nFRAG: inuse 2 memory 2304\n")
    return found


def test_both_families(tmp_path: Path) -> None:
    limits = files(tmp_path)
    (tmp_path / "snmp6").write_text(SNMP6)
    (tmp_path / "sockstat6").write_text("UDP6: inuse 1\nFRAG6: inuse 0 memory 0\n")
    assert reassembly(tmp_path, limits) == [
        ReassemblyInfo(
            family=4, fragments=40, packets=15, failed=4, timed_out=3, made=14, memory=2304, memory_limit=4194304
        ),
        ReassemblyInfo(family=6, fragments=6, packets=2, failed=1, timed_out=1, made=0, memory=0, memory_limit=4194304),
    ]


def test_what_a_kernel_does_not_have_is_left_out(tmp_path: Path) -> None:
    assert [found.family for found in reassembly(tmp_path, files(tmp_path))] == [4]


def test_this_kernel_counts() -> None:
    assert 4 in [found.family for found in reassembly()]
