"""xfrmctl against strongSwan's charon, each as initiator and as responder: tunnels that work."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.interop import Bench, Initiator, Leg, Tunnel, eventually
from xfrmctl.lab import traffic
from xfrmctl.lab.counters import kernel_sas

pytestmark = [pytest.mark.lab, pytest.mark.interop]

both_roles = pytest.mark.parametrize("initiator", ["ours", "charon"])


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that neither answers nor ends while the block runs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


#: With extended sequence numbers; without them: test_interop_matrix.
SUITES = [
    ("aes128gcm16-prfsha256-ecp256", "aes128gcm16-esn"),
    ("aes256-sha512-modp3072", "aes256-sha512-esn"),
    ("chacha20poly1305-prfsha512-x25519", "chacha20poly1305-esn"),
]


@both_roles
@pytest.mark.parametrize(("ike", "esp"), SUITES)
def test_suite(bench: Bench, ike: str, esp: str, initiator: Initiator) -> None:
    bench.arrange(Tunnel(ike=[ike], legs=[Leg(esp=[esp])]))
    with bench.only_esp(udp=False):
        child = bench.bring_up(initiator)
        bench.check_traffic()
    assert child.suite == esp
    (sa,) = bench.connection().ike_sas
    assert sa.initiator is (initiator == "ours")


# ---- addresses, encapsulation, data planes ---------------------------------------------------------------------


@both_roles
@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("forced_by", ["ours", "charon"])
def test_encapsulation_forced(bench: Bench, forced_by: str, outer: int, initiator: Initiator) -> None:
    bench.arrange(Tunnel(outer=outer, encap=forced_by == "ours", charon_encap=forced_by == "charon"))
    with bench.only_esp(udp=True):
        child = bench.bring_up(initiator)
        bench.check_traffic()
    assert child.encap == "udp 4500 -> 4500"
    assert bench.charon.children()[0].encap
    bench.no_alarm()


# ---- a further child, key exchange retries, cookies -------------------------------------------------------------


@both_roles
def test_further_child_with_pfs(bench: Bench, initiator: Initiator) -> None:
    esp = ["aes256gcm16-x25519"]
    first = Leg(name="net", near=bench.near[:1], far=bench.far[:1], esp=esp)
    bench.arrange(Tunnel(legs=[first, Leg(name="more", near=bench.near[1:], far=bench.far[1:], esp=esp)]))
    with bench.only_esp(udp=False):
        bench.bring_up(initiator, "net")
        more = bench.bring_up(initiator, "more")
        bench.check_traffic()
    (sa,) = bench.connection().ike_sas
    assert [child.name for child in sa.children] == ["net", "more"]
    assert more.suite == "aes256gcm16-x25519-noesn"
    bench.no_alarm()
    assert re.search(r"CREATE_CHILD_SA request \d \[ SA No KE TSi TSr \]", bench.charon_log())


IKE_TWO, IKE_ONE = ["aes128gcm16-prfsha256-x25519-ecp256"], ["aes128gcm16-prfsha256-ecp256"]
ESP_TWO, ESP_ONE = ["aes128gcm16-x25519-ecp384"], ["aes128gcm16-ecp384"]


@pytest.mark.rfc("7296", "1.2")
@both_roles
def test_invalid_ke_is_followed_by_the_other_method(bench: Bench, initiator: Initiator) -> None:
    """Both the IKE SA and a further child begin with a key exchange that the responder does not want."""
    ours = initiator == "ours"
    ike, charon_ike = (IKE_TWO, IKE_ONE) if ours else (IKE_ONE, IKE_TWO)
    esp, charon_esp = (ESP_TWO, ESP_ONE) if ours else (ESP_ONE, ESP_TWO)
    legs = [
        Leg(name="net", near=bench.near[:1], far=bench.far[:1], esp=esp, charon_esp=charon_esp),
        Leg(name="more", near=bench.near[1:], far=bench.far[1:], esp=esp, charon_esp=charon_esp),
    ]
    bench.arrange(Tunnel(ike=ike, charon_ike=charon_ike, legs=legs))
    with bench.only_esp():
        bench.bring_up(initiator, "net")
        more = bench.bring_up(initiator, "more")
        bench.check_traffic()
    assert str(bench.connection().ike_sas[0].suite).endswith("ecp256")
    assert more.suite == "aes128gcm16-ecp384-noesn"
    did = "generating" if ours else "parsed"
    refusals = [line for line in bench.charon_log().splitlines() if "N(INVAL_KE)" in line and did in line]
    assert ["IKE_SA_INIT" in line for line in refusals] == [True, False], refusals


@pytest.mark.rfc("7296", "2.6")
@both_roles
def test_cookie_is_returned(bench: Bench, initiator: Initiator) -> None:
    bench.arrange(Tunnel())
    bench.half_open("charon" if initiator == "ours" else "ours")
    with bench.only_esp():
        bench.bring_up(initiator)
        bench.check_traffic((4,))
    demanded, returned = ("generating", "parsed") if initiator == "ours" else ("parsed", "generating")
    assert f"{demanded} IKE_SA_INIT response 0 [ N(COOKIE) ]" in bench.charon_log()
    assert f"{returned} IKE_SA_INIT request 0 [ N(COOKIE) SA KE No" in bench.charon_log()


# ---- traffic selectors ------------------------------------------------------------------------------------------


@pytest.mark.rfc("7296", "2.9")
@both_roles
@pytest.mark.parametrize("wider", ["ours", "charon"])
def test_selectors_are_narrowed_to_the_narrower(bench: Bench, wider: str, initiator: Initiator) -> None:
    """Both sides' networks differ: one end has a /24 in a /23 of each, the other the whole of both."""
    narrow = {"near": bench.near[:1], "far": bench.far[:1]}
    wide = {"near": ["10.1.0.0/23"], "far": ["10.1.2.0/23"]}
    ours, theirs = (wide, narrow) if wider == "ours" else (narrow, wide)
    leg = Leg(near=ours["near"], far=ours["far"], charon_near=theirs["near"], charon_far=theirs["far"])
    bench.arrange(Tunnel(legs=[leg]))
    with bench.only_esp():
        child = bench.bring_up(initiator)
        bench.check_traffic((4,))
        # What the peer has narrowed away stays blocked: it may not leave in clear.
        assert bench.near_ns.run(["ping", "-c1", "-W0.3", "10.1.3.1"], check=False).returncode != 0
    assert (child.local_ts, child.remote_ts) == (list(narrow["near"]), list(narrow["far"]))


# ---- the end of things ------------------------------------------------------------------------------------------


@pytest.mark.rfc("7296", "1.4.1")
@both_roles
@pytest.mark.parametrize("what", ["child", "ike"])
def test_delete(bench: Bench, what: str, initiator: Initiator) -> None:
    """Either end takes the child or the IKE SA down: gone on both, nothing in clear, and up again when wanted."""
    bench.arrange(Tunnel())
    with bench.only_esp():
        bench.bring_up(initiator)
        if initiator == "ours":
            bench.ours.client.down(bench.name, "net" if what == "child" else None)
        else:
            bench.charon.swanctl("--terminate", f"--{what}", "net" if what == "child" else bench.name)
        eventually(lambda: not bench.charon.children() and not bench.children(), "no child on either end")
        left = 1 if what == "child" else 0
        eventually(lambda: len(bench.connection().ike_sas) == len(bench.charon.sas()) == left, f"{left} IKE SAs")
        assert kernel_sas(bench.ours.namespace) == kernel_sas(bench.charon.namespace) == []
        assert traffic.ping(bench.near_ns, bench.far_host[0], count=2, wait_s=0.2).received == 0
        bench.bring_up(initiator)
        bench.check_traffic((4,))


@both_roles
def test_liveness_is_asked_and_answered(bench: Bench, initiator: Initiator) -> None:
    """``initiator`` asks. Both are idle; the IKE SA stays, and neither end sends anything else."""
    ours = initiator == "ours"
    bench.arrange(Tunnel(dpd="1s" if ours else "off", charon_dpd_s=0 if ours else 1))
    bench.bring_up(initiator)
    asked, answered = ("parsed", "generating") if ours else ("generating", "parsed")
    eventually(lambda: f"{answered} INFORMATIONAL response" in bench.charon_log(), "an answer")
    assert f"{asked} INFORMATIONAL request" in bench.charon_log()
    time.sleep(1.5)
    assert len(bench.connection().ike_sas) == 1
    bench.check_traffic((4,))


def test_we_notice_that_charon_is_dead(bench: Bench) -> None:
    policy = {"first": "1s", "factor": 1.1, "tries": 2, "max": "1s"}
    bench.arrange(Tunnel(dpd="1s", retransmit=policy))
    bench.bring_up("ours")
    with bench.only_esp(esp=False), frozen(bench.charon.pid):
        eventually(lambda: not bench.children(), "we have given up", timeout_s=60)
        found = bench.connection().last_failure
        assert found is not None and found.code == "peer_dead"
        assert traffic.ping(bench.near_ns, bench.far_host[0], count=2, wait_s=0.2).received == 0
    bench.bring_up("ours")
    bench.check_traffic((4,))


def test_charon_notices_that_we_are_dead(bench: Bench) -> None:
    bench.arrange(Tunnel(dpd="off", charon_dpd_s=1))
    bench.bring_up("charon")
    with frozen(bench.ours.pid):
        eventually(lambda: not bench.charon.sas(), "charon has given up", timeout_s=60)
    bench.bring_up("charon")
    eventually(lambda: len(bench.connection().ike_sas) == 1, "INITIAL_CONTACT has ended the old IKE SA")
    bench.check_traffic((4,))


# ---- traps and rekeying -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("initiator", "dataplane"), [("ours", "policy"), ("ours", "interface"), ("charon", "policy")])
def test_first_packet_brings_the_tunnel_up(bench: Bench, dataplane: str, initiator: Initiator) -> None:
    ours = initiator == "ours"
    leg = Leg(start="trap" if ours else "none", charon_start="none" if ours else "trap", dataplane=dataplane)
    bench.arrange(Tunnel(legs=[leg]))
    source, target = (bench.near_ns, bench.far_host) if ours else (bench.far_ns, bench.near_host)
    with bench.only_esp():
        assert bench.children() == []
        assert traffic.ping(source, target[0], count=10).received > 0
        bench.check_traffic()
    assert len(bench.children()) == 1


@pytest.mark.rfc("7296", "2.8")
@both_roles
def test_rekeying_of_a_child_loses_nothing(bench: Bench, initiator: Initiator) -> None:
    ours = initiator == "ours"
    # The hard limit lies far above: the transfer below is over before a rekey has begun.
    rekey, lifetime = ({"bytes": "1M"}, {"bytes": "100M"}) if ours else ({}, {})
    bench.arrange(Tunnel(legs=[Leg(esp=["aes128gcm16-x25519"], rekey=rekey, lifetime=lifetime)]))
    with bench.only_esp(), bench.pinging() as ping:
        before = bench.bring_up("charon")
        ping.start()
        if ours:
            assert traffic.transfer(bench.near_ns, bench.far_ns, bench.far_host[0], size=1_200_000).complete
        else:
            bench.charon.swanctl("--rekey", "--child", "net")
        eventually(lambda: [c.inbound.spi for c in bench.children()] not in ([], [before.inbound.spi]), "a new SA")
        eventually(lambda: len(bench.children()) == len(bench.charon.children()) == 1, "one SA each")
        assert ping.stop().loss == 0
        bench.check_traffic()
    did = "parsed" if ours else "generating"
    assert re.search(did + r" CREATE_CHILD_SA request \d \[ N\(REKEY_SA\) SA No KE TSi TSr \]", bench.charon_log())


@pytest.mark.rfc("7296", "2.18")
@both_roles
def test_rekeying_of_the_ike_sa_does_not_touch_its_children(bench: Bench, initiator: Initiator) -> None:
    ours = initiator == "ours"
    bench.arrange(Tunnel(rekey="2s" if ours else "1h"))
    with bench.only_esp(), bench.pinging() as ping:
        before = bench.bring_up(initiator)
        ping.start()
        if not ours:
            bench.charon.swanctl("--rekey", "--ike", bench.name)
        eventually(lambda: " rekeyed between " in bench.charon_log(), "charon says so")
        eventually(lambda: len(bench.connection().ike_sas) == len(bench.charon.sas()) == 1, "one IKE SA")
        assert ping.stop().loss == 0
        bench.check_traffic()
    (child,) = bench.children()
    assert child.inbound.spi == before.inbound.spi


# ---- a real NAT box ---------------------------------------------------------------------------------------------

planes = pytest.mark.parametrize(("outer", "dataplane"), [(4, "policy"), (4, "interface"), (6, "policy")])


@pytest.fixture(scope="module")
def ours_behind_nat() -> Iterator[Bench]:
    with Bench.running(nat=True) as made:
        yield made


@pytest.fixture(scope="module")
def charon_behind_nat() -> Iterator[Bench]:
    with Bench.running(nat=True, ours_in="gb") as made:
        yield made


@pytest.mark.rfc("7296", "2.23")
@planes
def test_behind_a_nat_box(ours_behind_nat: Bench, outer: int, dataplane: str) -> None:
    bench = ours_behind_nat
    with bench.told():
        bench.arrange(Tunnel(outer=outer, legs=[Leg(dataplane=dataplane)]))
        with bench.only_esp(udp=True):
            child = bench.bring_up("ours")
            bench.check_traffic()
        (sa,) = bench.connection().ike_sas
        assert (sa.nat_local, sa.nat_remote) == (True, False)
        assert child.encap == "udp 4500 -> 4500"
        bench.no_alarm()


@pytest.mark.rfc("7296", "2.23")
@planes
@pytest.mark.parametrize("any_peer", [False, True])
def test_charon_behind_a_nat_box(charon_behind_nat: Bench, outer: int, dataplane: str, any_peer: bool) -> None:
    bench = charon_behind_nat
    with bench.told():
        bench.arrange(Tunnel(outer=outer, any_peer=any_peer, legs=[Leg(dataplane=dataplane)]))
        with bench.only_esp(udp=True):
            child = bench.bring_up("charon")
            bench.check_traffic()
        (sa,) = bench.connection().ike_sas
        assert (sa.nat_local, sa.nat_remote) == (False, True)
        port = re.fullmatch(r"udp 4500 -> (\d+)", child.encap or "")
        assert port and 32000 <= int(port[1]) <= 33000
        bench.no_alarm()
