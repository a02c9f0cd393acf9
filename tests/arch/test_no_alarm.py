"""Every file of the lab that has a healthy tunnel of a daemon's asks ``xfrmctl diagnose``, or says here why not."""

from pathlib import Path

LAB = Path(__file__).parents[1] / "lab"
ASKED = (".diagnose(", "no_alarm(", "healthy(", "lab.matrix")
"""A file that has one of these asks; each cell of the interop matrix does."""

NO_DAEMON = "no daemon of ours runs"
NARROW = "the path is made narrow and silent, and that is found"
ATTACK = "packets are forged or ICMP is filtered throughout"
FAULTS = "faults are made throughout"
ELSEWHERE = {
    "test_black_holes_libreswan.py": NARROW,
    "test_black_holes_ours.py": NARROW,
    "test_black_holes_strongswan.py": NARROW,
    "test_change_cost.py": "measures the kernel's side alone",
    "test_daemon.py": "one of its connections has a peer that does not exist",
    "test_df_policy.py": NARROW,
    "test_explain.py": NO_DAEMON,
    "test_findings_lines.py": NO_DAEMON,
    "test_icmp_flood.py": ATTACK,
    "test_icmp_guard.py": NO_DAEMON,
    "test_icmp_guard_daemon.py": ATTACK,
    "test_icmp_inner.py": NARROW,
    "test_interop_failures.py": FAULTS,
    "test_interop_fragmentation.py": "fragments are dropped on the way, and that is found",
    "test_lab_demo.py": "its report asks: xfrmctl.lab.demo",
    "test_nat_moves.py": "mappings of the NAT last a second there",
    "test_never_in_clear.py": FAULTS,
    "test_ownership.py": FAULTS,
    "test_path_mtu_full_speed.py": NARROW,
    "test_rules.py": NO_DAEMON,
    "test_scenarios.py": "its scenarios ask: xfrmctl/lab/scenarios/tunnel/check",
    "test_trace.py": "captures by others' devices, whose faults are wanted",
    **dict.fromkeys(("test_overhead.py", "test_lab_direct.py", "test_lab_static.py", "test_lab_strongswan.py",
                     "test_lab_topology.py"), NO_DAEMON),
    **dict.fromkeys((f"test_kernel_{what}.py" for what in ("clamps", "disturbed", "move", "planes", "sad", "scale",
                                                            "sockets")), NO_DAEMON),
}  # fmt: skip


def test_no_healthy_scenario_is_left_out() -> None:
    files = {path.name: path.read_text() for path in LAB.glob("test_*.py") if "mark.lab" in path.read_text()}
    asking = {name for name, text in files.items() if any(word in text for word in ASKED)}
    assert not set(files) - asking - set(ELSEWHERE), "healthy? then no_alarm(gateway); else say here why not"
    assert not set(ELSEWHERE) - set(files), "gone"
    assert not set(ELSEWHERE) & asking, "it asks now"
