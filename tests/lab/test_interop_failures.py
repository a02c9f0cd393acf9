"""xfrmctl against strongSwan's charon: tunnels that cannot be, the Notify that says so, and what we tell of it."""

import re
from dataclasses import dataclass

import pytest

from tests.lab.interop import CHARON_ID, OUR_ID, Bench, Initiator, Leg, Tunnel
from xfrmctl.lab import traffic
from xfrmctl.lab.counters import kernel_sas

pytestmark = [pytest.mark.lab, pytest.mark.interop]

both_roles = pytest.mark.parametrize("initiator", ["ours", "charon"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What our side tells: the code, words of text and cause, and what each side is said to have."""

    code: str
    words: str
    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A tunnel that cannot be. ``wire`` is the refusal as charon logs it, whichever end refuses."""

    tunnel: Tunnel
    wire: str
    initiating: Told
    responding: Told


US, CHARON, OTHER = f"fqdn:{OUR_ID}", f"fqdn:{CHARON_ID}", "fqdn:somebody.example.org"
NEAR, FAR = "10.1.1.0/24", "10.1.2.0/24"
INIT, AUTH = r"IKE_SA_INIT response 0 \[ ", r"IKE_AUTH response 1 \[ "

CASES = {
    "wrong-psk": Case(
        tunnel=Tunnel(charon_psk="another key, of the same length about"),
        wire=AUTH + r"N\(AUTH_FAILED\) \]",
        initiating=Told(code="authentication_failed", words="pre-shared key differs"),
        responding=Told(code="authentication_failed", words=f"pre-shared key for {US} and {CHARON} differs"),
    ),
    "no-common-ike-proposal": Case(
        tunnel=Tunnel(ike=["aes256gcm16-prfsha384-x25519"], charon_ike=["aes128-sha256-modp2048"]),
        wire=INIT + r"N\(NO_PROP\) \]",
        initiating=Told(code="no_proposal_chosen", words="to our IKE offer", ours=("aes256gcm16-prfsha384-x25519",)),
        responding=Told(
            code="no_proposal_chosen",
            words="no common IKE proposal",
            ours=("aes256gcm16-prfsha384-x25519",),
            theirs=("aes128-sha256-prfsha256-modp2048",),
        ),
    ),
    "no-common-esp-proposal": Case(
        tunnel=Tunnel(legs=[Leg(esp=["aes256gcm16"], charon_esp=["aes128-sha256"])]),
        wire=AUTH + r"IDr AUTH (N\(\w+\) )*N\(NO_PROP\) \]",
        initiating=Told(code="no_proposal_chosen", words="to our ESP offer", ours=("aes256gcm16-noesn",)),
        responding=Told(
            code="no_proposal_chosen",
            words="no common ESP proposal",
            ours=("aes256gcm16-noesn",),
            theirs=("aes128-sha256-noesn",),
        ),
    ),
    "disjoint-selectors": Case(
        tunnel=Tunnel(legs=[Leg(near=[NEAR], far=[FAR], charon_far=["10.9.0.0/24"])]),
        wire=AUTH + r"IDr AUTH (N\(\w+\) )*N\(TS_UNACCEPT\) \]",
        initiating=Told(code="ts_unacceptable", words="answered TS_UNACCEPTABLE", ours=(NEAR, FAR)),
        responding=Told(
            code="ts_unacceptable", words="no child of ours has", ours=(NEAR, FAR), theirs=(NEAR, "10.9.0.0/24")
        ),
    ),
    "charon-expects-another": Case(
        tunnel=Tunnel(charon_expects="somebody.example.org"),
        wire=AUTH + r"N\(AUTH_FAILED\) \]",
        initiating=Told(code="authentication_failed", words=f"no connection for our identity {US}"),
        responding=Told(
            code="identity_mismatch",
            words=f"wants to talk to {OTHER}",
            ours=(US,),
            theirs=(OTHER,),
        ),
    ),
    "we-expect-another": Case(
        tunnel=Tunnel(we_expect="somebody.example.org"),
        wire=AUTH + r"N\(AUTH_FAILED\) \]",
        initiating=Told(code="authentication_failed", words=f"its own {OTHER}"),
        responding=Told(
            code="identity_mismatch",
            words=f"says it is {CHARON}",
            ours=(OTHER,),
            theirs=(CHARON,),
        ),
    ),
}


@both_roles
@pytest.mark.parametrize("name", CASES)
def test_refusal(bench: Bench, name: str, initiator: Initiator) -> None:
    case = CASES[name]
    told = case.initiating if initiator == "ours" else case.responding
    bench.arrange(case.tunnel)
    with bench.only_esp(esp=False):
        bench.fail(initiator)
        assert traffic.ping(bench.near_ns, bench.far_host[0], count=2, wait_s=0.2).received == 0
    check_wire(bench, initiator, case.wire)
    check_told(bench, told)
    assert kernel_sas(bench.ours.namespace) == kernel_sas(bench.charon.namespace) == []


@both_roles
def test_a_further_child_that_cannot_be_leaves_the_first_one_alone(bench: Bench, initiator: Initiator) -> None:
    legs = [
        Leg(name="net", near=[NEAR], far=[FAR]),
        Leg(name="suite", near=bench.near[1:], far=bench.far[1:], esp=["aes256gcm16"], charon_esp=["aes128-sha256"]),
        Leg(name="nets", near=["10.7.1.0/24"], far=["10.7.2.0/24"], charon_near=["10.8.1.0/24"]),
    ]
    bench.arrange(Tunnel(legs=legs))
    with bench.only_esp():
        bench.bring_up(initiator, "net")
        bench.fail(initiator, "suite")
        check_wire(bench, initiator, r"CREATE_CHILD_SA response \d \[ N\(NO_PROP\) \]")
        esp = "to our ESP offer" if initiator == "ours" else "no common ESP proposal"
        check_told(bench, Told(code="no_proposal_chosen", words=esp, ours=("aes256gcm16-noesn",)), up="net")
        bench.ours.client.down(bench.name, "suite")
        bench.fail(initiator, "nets")
        check_wire(bench, initiator, r"CREATE_CHILD_SA response \d \[ N\(TS_UNACCEPT\) \]")
        check_told(
            bench,
            Told(code="ts_unacceptable", words="TS_UNACCEPTABLE" if initiator == "ours" else "no child"),
            up="net",
        )
        bench.check_traffic((4,))
    assert [child.name for child in bench.children()] == ["net"]


def check_wire(bench: Bench, initiator: Initiator, refusal: str) -> None:
    """The Notify went the right way, as charon read or wrote it."""
    did = "generating" if initiator == "ours" else "parsed"
    assert re.search(f"{did} {refusal}", bench.charon_log()), refusal


def check_told(bench: Bench, told: Told, up: str = "") -> None:
    """``xfrmctl show --json`` and one line of the log say what, why, what to do, and what each side has."""
    shown = bench.shown()
    assert {child["name"] for child in shown["children"] if child["state"] == "up"} == ({up} if up else set())
    failure = shown["last_failure"]
    assert failure is not None
    assert failure["code"] == told.code
    assert told.words in f"{failure['text']}; {failure['cause']}"
    assert failure["cure"]
    assert set(told.ours) <= set(failure["ours"])
    assert set(told.theirs) <= set(failure["theirs"])
    line = next(line for line in bench.our_log().splitlines() if "failed: " in line and told.words in line)
    assert bench.name in line and "[warning" in line
    for said in (failure["text"], failure["cause"], failure["cure"], *told.ours, *told.theirs):
        assert said in line
