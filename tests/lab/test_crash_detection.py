"""Quick crash detection (RFC 6290) between our daemons: kill -9, start again, and the peer knows at once."""

import json
import stat
import time

import pytest

from tests.lab.interop import eventually
from tests.lab.tunnel import no_alarm
from xfrmctl.lab import traffic
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import HOST_B, INNER_A, INNER_B, OUTER_A, OUTER_B, Topology

pytestmark = [pytest.mark.lab, pytest.mark.rfc("6290", "4.5")]

DPD_S = 3.0


def gateway(topology: Topology, at: int, *, start: str, dpd: str, tokens: bool = True) -> Gateway:
    outer, inner = (OUTER_A[0], OUTER_B[0]), (INNER_A[0], INNER_B[0])
    names = ("fqdn:moon.example.org", "fqdn:sun.example.org")
    connection = {
        "local": {"address": outer[at], "id": names[at]},
        "remote": {"address": outer[1 - at], "id": names[1 - at]},
        "auth": {"psk": "a key for the lab only, 32 bytes or so"},
        "ike": {"dpd": dpd},
        "children": {"net": {"local_ts": inner[at], "remote_ts": inner[1 - at], "start": start}},
    }
    config = {"gateway": {"crash_detection": tokens}, "connections": {"net": connection}}
    return Gateway(topology.ns(("ga", "gb")[at]), json.dumps(config), options=("--log-level", "debug"))


def reboot(one: Gateway) -> None:
    """Killed, with no SA left that it would find at its start and negotiate anew."""
    one.kill()
    one.namespace.run(["ip", "xfrm", "state", "flush"])
    one.start()


def test_the_peer_of_a_killed_daemon_is_back_at_once(topology: Topology) -> None:
    """B only answers, so nothing but A can bring the tunnel back."""
    b = gateway(topology, 1, start="none", dpd="off")
    a = gateway(topology, 0, start="start", dpd=f"{DPD_S:.0f}s")
    with b, a:
        try:
            a.wait_up("net")
            secret = b.directory / "state" / "qcd.secret"
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600
            kept, first = secret.read_bytes(), a.client.connection("net").ike_sas[0].name
            assert traffic.ping(topology.ns("ha"), HOST_B[0], interval_s=0.02).loss == 0
            reboot(b)
            began = time.monotonic()
            eventually(lambda: a.client.connection("net").ike_sas[0].name != first, "a new IKE SA", 4 * DPD_S)
            b.wait_up("net")
            took = time.monotonic() - began
            print(f"back {took:.1f} s after the restart")
            assert secret.read_bytes() == kept
            assert "has lost the IKE SA, and proves it by its token" in a.log_tail(60)
            assert " silent: " not in "\n".join(a.log_lines())
            no_alarm(a, b)
            assert traffic.ping(topology.ns("ha"), HOST_B[0], interval_s=0.02).loss == 0
        finally:
            print(f"---- A\n{a.log_tail(40)}\n---- B\n{b.log_tail(40)}")


def test_without_tokens_only_silence_tells(topology: Topology) -> None:
    """The measure of the one above: the first answer of the restarted daemon changes nothing."""
    b = gateway(topology, 1, start="none", dpd="off", tokens=False)
    a = gateway(topology, 0, start="start", dpd=f"{DPD_S:.0f}s")
    with b, a:
        a.wait_up("net")
        first = a.client.connection("net").ike_sas[0].name
        reboot(b)
        eventually(lambda: "(attempt 3)" in a.log_tail(200), "it is tried again", 30)
        assert a.client.connection("net").ike_sas[0].name == first
