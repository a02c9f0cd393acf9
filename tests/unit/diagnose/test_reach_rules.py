"""Silent peers: what three strangers' questions tell apart."""

from ipaddress import ip_address

import pytest

from tests.unit.diagnose.gateway_facts import connected, down, facts, ids, lines, only
from xfrmctl.diagnose.facts import Answer, PeerProbe
from xfrmctl.diagnose.rules.reach import wants_probe
from xfrmctl.ike import failures
from xfrmctl.model.address import Endpoint

SILENT = failures.no_response(Endpoint(ip_address("172.16.2.1"), 500), 5, "IKE_SA_INIT")
YES, NO, REFUSED, NO_WAY = Answer.ANSWERED, Answer.SILENT, Answer.REFUSED, Answer.UNREACHABLE


@pytest.mark.parametrize(
    ("ike", "nat_t", "echo", "wanted"),
    [
        (NO, YES, YES, "udp-500-blocked"),
        (NO, YES, NO, "udp-500-blocked"),
        (YES, NO, YES, "udp-4500-blocked"),
        (NO, NO, YES, "ike-blocked"),
        (NO, NO, NO, "peer-unreachable"),
        (NO_WAY, NO_WAY, NO_WAY, "peer-unreachable"),
        (REFUSED, REFUSED, YES, "ike-not-running"),
        (NO, REFUSED, YES, "ike-not-running"),
        (YES, YES, YES, "peer-ignores-us"),
    ],
)
def test_what_is_silent(ike: Answer, nat_t: Answer, echo: Answer, wanted: str) -> None:
    probe = PeerProbe(ike=ike, nat_t=nat_t, echo=echo, detail="No route to host" if echo is NO_WAY else "")
    found = only(facts(down(SILENT), probes={"main": probe}))
    assert found.id == wanted and found.symptom == SILENT.text
    assert ike.value in found.evidence[0] and echo.value in found.evidence[1]
    assert echo is not NO_WAY or "No route to host" in found.evidence[1]


def test_the_cure_names_the_port() -> None:
    found = only(facts(down(SILENT), probes={"main": PeerProbe(ike=NO, nat_t=NO, echo=YES)}))
    assert any("--dports 500,4500" in line for line in lines(found))


def test_only_who_should_be_up_is_asked() -> None:
    assert wants_probe(down(SILENT)) and wants_probe(down(None, state="connecting"))
    assert not wants_probe(connected()) and not wants_probe(down(None, state="trap"))
    assert not wants_probe(down(failures.operator("down"), state="down"))
    assert not wants_probe(down(SILENT, remote="any"))


def test_no_daemon_is_a_finding() -> None:
    assert ids(facts(before=None, after=None, daemon_fault="no daemon listens at /run/x")) == ["daemon-not-running"]
