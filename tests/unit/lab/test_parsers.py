"""Output of other programs -> values."""

import subprocess
import sys
from pathlib import Path

import pytest

from xfrmctl.lab.counters import parse_states, sample
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.job import INSIDE, Job
from xfrmctl.lab.peers.swanctl import Child, Connection, ike_sas, render
from xfrmctl.lab.process import reap
from xfrmctl.lab.report import Report
from xfrmctl.lab.traffic import parse_ping

LISTING = (
    "list-sa event {net {uniqueid=1 version=2 state=ESTABLISHED local-host=172.16.1.1 local-id=C=XX, CN=a b "
    "child-sas {net-1 {name=net reqid=1 state=INSTALLED mode=TUNNEL protocol=ESP encap=yes spi-in=c52273ef "
    "spi-out=0aa0d652 bytes-in=9396 packets-in=178 bytes-out=20751372 packets-out=14381 "
    "local-ts=[10.1.1.0/24 fd10:1::/64] remote-ts=[10.1.2.0/24]} net-2 {name=net state=REKEYING}}}}\n"
    "list-sa event {other {state=CONNECTING child-sas {}}}\n"
    "list-sas reply {}\n"
)


def test_strongswan_listing() -> None:
    net, other = ike_sas(LISTING)
    assert (net.name, net.state, other.state, list(other.children)) == ("net", "ESTABLISHED", "CONNECTING", [])
    child = net.children[0]
    assert (child.spi_in, child.spi_out) == (0xC52273EF, 0x0AA0D652)
    assert (child.bytes_in, child.packets_out, child.encap) == (9396, 14381, True)
    assert net.children[1].state == "REKEYING"
    assert ike_sas("list-sas reply {}\n") == []


def test_swanctl_configuration() -> None:
    child = Child(local_ts=["10.1.1.0/24", "fd10:1::/64"], remote_ts=["10.1.2.0/24"], if_id_in=7, if_id_out=7)
    text = render([Connection(local="172.16.1.1", remote="%any", remote_id="b.example", encap=True, children=[child])])
    assert "local_ts = 10.1.1.0/24,fd10:1::/64\n" in text
    assert "if_id_in = 7" in text and "encap = yes" in text and "rekey_time" not in text
    assert "id-1 = 172.16.1.1\n    id-2 = b.example" in text
    assert text.count("{") == text.count("}")


def test_ping() -> None:
    fine = parse_ping("3 packets transmitted, 2 received, 33% packet loss\nrtt min/avg/max/mdev = 0.1/0.25/0.3/0.0 ms")
    assert (fine.received, fine.rtt_avg_ms, fine.told_mtu) == (2, 0.25, None)
    assert fine.loss == pytest.approx(1 / 3)
    told = parse_ping("From 1.1.1.1 Frag needed and DF set (mtu = 1346)\n1 packets transmitted, 0 received, +1 errors")
    assert (told.told_mtu, told.loss) == (1346, 1.0)
    assert parse_ping("From ::1 Packet too big: mtu=1400\n1 packets transmitted, 0 received").told_mtu == 1400
    assert parse_ping("ping: connect: Network is unreachable").loss == 1.0
    with pytest.raises(LabError, match="did not run"):
        parse_ping("ping: bad number")


def test_kernel_states() -> None:
    text = """\
src 172.16.1.1 dst 172.16.2.1
\tproto esp spi 0x00001001(4097) reqid 1(0x00000001) mode tunnel
\tlifetime config:
\t  limit: soft (INF)(bytes), hard (INF)(bytes)
\tlifetime current:
\t  1234(bytes), 56(packets)
src fd16:2::1 dst fd16:1::1
\tproto esp spi 0xc1002fff(3238014975) reqid 1(0x00000001) mode tunnel
\tlifetime current:
\t  0(bytes), 0(packets)
"""
    first, second = parse_states(text)
    assert (first.spi, first.bytes, first.packets, first.dst) == (0x1001, 1234, 56, "172.16.2.1")
    assert (second.spi, second.src) == (0xC1002FFF, "fd16:2::1")


def test_metric_sample() -> None:
    text = '# HELP b_total x\nb_total{child="lan",connection="demo",direction="in"} 9.5e+03\nup 1.0\n'
    labels = {"connection": "demo", "child": "lan", "direction": "in"}
    assert sample(text, "b_total", labels) == 9500
    assert sample(text, "b_total", {**labels, "direction": "out"}) is None


def test_job_script_quotes_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    script = Job(argv=["echo", "two words", "$HOME"], cwd=Path("/a b"), env={"X": "it's"}).script("guest")
    assert "exec echo 'two words' '$HOME'\n" in script
    assert "cd '/a b' || exit 125\n" in script
    assert f"export {INSIDE}=guest\n" in script
    assert "export X='it'\"'\"'s'\n" in script


def test_report_fails_with_one_failing_check() -> None:
    fine, broken = Report("title"), Report("title")
    for report in (fine, broken):
        report.tell("a", "1")
        report.check("b", "2", holds=True)
    broken.check("c", "3", holds=False)
    assert (fine.ok, broken.ok) == (True, False)
    assert "all 1 checks hold" in fine.text()
    assert "1 of 2 checks FAIL" in broken.text()


@pytest.mark.parametrize(("code", "status"), [("exit 3", 3), ("kill -TERM $$", 143)])
def test_exit_status_as_a_shell_counts_it(code: str, status: int) -> None:
    assert reap(subprocess.Popen(["sh", "-c", code], start_new_session=True), None) == status


def test_timeout_leaves_no_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    assert reap(child, 0.2) == 124
    assert child.poll() is not None
