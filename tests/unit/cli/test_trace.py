"""``xfrmctl trace`` as a user runs it."""

import json
import os
from pathlib import Path

import pytest

from tests.unit.cli.test_cli import Run
from tests.unit.trace.captures import ethernet, pcapng, raw, syn, syn_ack


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    a, b = tmp_path / "a.pcap", tmp_path / "b.pcapng"
    a.write_bytes(ethernet([syn(), syn_ack(ttl=62)]))
    b.write_bytes(pcapng([(0, bytes(syn(1406, ttl=63))), (0, bytes(syn_ack(ttl=63)))]))
    return str(a), str(b)


def test_a_change_is_told_with_its_arithmetic_and_status_1(files: tuple[str, str]) -> None:
    run = Run("trace", *files, width=120)
    assert run.code == 1 and run.err == ""
    assert "CHANGE  MSS of the SYN lowered between A and B: 1460 becomes 1406" in run.out
    assert "fits: ESP aes256gcm16, outer IPv4, path MTU 1500 (Ethernet)" in run.out
    assert "A #1: 10.1.1.10:40000 > 10.1.2.10:443 MSS 1460" in run.out


def test_json(files: tuple[str, str]) -> None:
    run = Run("trace", *files, "--json", "--suite", "aes256gcm16")
    found = json.loads(run.out)
    assert run.code == 1 and found["changed"] and found["connections"] == 1
    change = next(f for f in found["findings"] if f["code"] == "mss-rewritten")
    assert change["values"] == {"version": 4, "from": 1460, "to": 1406, "opening": "SYN"}
    assert change["fits"][0]["suite"] == "aes256gcm16" and change["fits"][0]["outer_mtu"] == 1500
    assert change["evidence"][0] == {"point": "A", "packet": 1, "text": "10.1.1.10:40000 > 10.1.2.10:443 MSS 1460"}
    assert found["points"]["B"]["packets"] == 2


def test_nothing_changed_is_status_0(files: tuple[str, str]) -> None:
    run = Run("trace", files[0], files[0])
    assert run.code == 0 and "Nothing was changed between A and B." in run.out


def test_a_damaged_file_is_used_up_to_there(files: tuple[str, str], tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(Path(files[0]).read_bytes()[:-5])
    run = Run("trace", str(cut), str(cut), width=300)
    assert run.code == 0 and "1 packet" in run.out and "damaged" in run.out and "the file is cut off" in run.out


def test_what_cannot_be_read_is_status_2_and_one_line(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\x00" * 100)
    for name, said in (
        (nonsense, "byte 0: this is no pcap"),
        (tmp_path / "none", "No such file"),
        (tmp_path, "directory"),
    ):
        run = Run("trace", str(name), str(name))
        assert run.code == 2 and said in run.err and run.out == "" and "Traceback" not in run.err
    assert json.loads(Run("trace", "--json", str(nonsense), str(nonsense)).out)["error"]["message"]
    assert Run("trace", str(nonsense)).code == 2
    assert Run("trace", str(nonsense), str(nonsense), "--suite", "rot13").code == 2


@pytest.fixture
def tcpdump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of this name that finds in the directory, by the device, what it is to capture; it logs its words."""
    program = tmp_path / "tcpdump"
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >>{tmp_path}/words\n'
        f'[ -e {tmp_path}/$2.pcap ] || {{ echo "tcpdump: $2: No such device exists" >&2; exit 1; }}\n'
        f"cat {tmp_path}/$2.pcap\n"
        "echo 'tcpdump: listening on it' >&2\n"
        "trap 'exit 0' INT\n"
        "while :; do sleep 0.05; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_live(tcpdump: Path) -> None:
    (tcpdump / "lan.pcap").write_bytes(raw([syn()]))
    (tcpdump / "ipsec0.pcap").write_bytes(raw([syn(1406, ttl=63)]))
    run = Run("trace", "--live", "lan", "ipsec0", "--seconds", "0.1", "--filter", "tcp port 443")
    assert run.code == 1 and "A  lan: 1 packet" in run.out and "1460 becomes 1406" in run.out
    assert [line[-len("-- tcp port 443") :] for line in (tcpdump / "words").read_text().splitlines()] == [
        "-- tcp port 443",
        "-- tcp port 443",
    ]


def test_live_on_a_device_that_is_none(tcpdump: Path) -> None:
    (tcpdump / "lan.pcap").write_bytes(raw([]))
    run = Run("trace", "--live", "lan", "wan", "--seconds", "0.1")
    assert run.code == 1 and "wan: No such device exists" in run.err and "ip link" in run.err


def test_live_without_tcpdump(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run = Run("trace", "--live", "lan", "wan", "--seconds", "0.1")
    assert run.code == 1 and "tcpdump is not installed" in run.err
