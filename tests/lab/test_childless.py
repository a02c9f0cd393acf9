"""IKE SAs without a first CHILD SA (RFC 6023) with charon, in both roles."""

import pytest

from tests.lab.interop import CHARON
from tests.lab.test_mobike import OUTER, charon_side, ours
from tests.lab.tunnel import no_alarm
from xfrmctl.lab import traffic
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.topology import HOST_A, HOST_B, Topology

pytestmark = [pytest.mark.lab, pytest.mark.rfc("6023", "3")]


@pytest.mark.parametrize("initiator", ["ours", "charon"])
def test_charon_takes_and_makes_them(topology: Topology, initiator: str) -> None:
    esp = "aes128gcm16-x25519"
    a = ours(topology, "ga", esp=esp, remote=None if initiator == "ours" else OUTER["gb"], childless="force")
    b = StrongSwan(topology.ns("gb"), [charon_side("gb", esp=esp, extra=["childless = force"])], daemon_options=CHARON)
    with a, b:
        try:
            if initiator == "ours":
                result = a.client.up("net")
                assert result.ok, result.message
            else:
                b.initiate("net")
                a.wait_up("net")
            assert traffic.ping(topology.ns("hb"), HOST_A[0], count=2, wait_s=1).sent
            assert traffic.ping(topology.ns("ha"), HOST_B[0], interval_s=0.02).loss == 0
            log = "\n".join(a.log_lines())
            auth = [line for line in a.log_lines() if "IKE_AUTH" in line]
            assert auth and all("TSi" not in line for line in auth)
            assert "CREATE_CHILD_SA request" in log
            assert a.client.connection("net").ike_sas[0].children[0].suite == "aes128gcm16-x25519-noesn"
            no_alarm(a)
        finally:
            print(f"---- ours\n{a.log_tail(40)}\n---- charon\n{b.log_text()[-5000:]}")
