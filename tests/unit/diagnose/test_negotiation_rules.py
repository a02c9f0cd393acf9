"""Failed negotiations as findings: the id, the diff, and ready lines for both ends."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.unit.diagnose.gateway_facts import LAN, MAIN, MOON, SUN, WALL, connected, down, facts, ids, lines, only
from xfrmctl.diagnose import vendors
from xfrmctl.diagnose.facts import CertificateFacts
from xfrmctl.ike import certificate_failures, failures
from xfrmctl.model.address import Endpoint
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import AuthMethod, ProtocolId
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.selector import parse_selector
from xfrmctl.model.suite import Proposal, parse_proposal

US, THEM = parse_identity(MOON), parse_identity(SUN)
HERE, THERE = parse_selector("10.1.1.0/24"), parse_selector("10.1.2.0/24")


def ike(text: str) -> list[Proposal]:
    return [parse_proposal(text, ProtocolId.IKE)]


def esp(text: str) -> list[Proposal]:
    return [parse_proposal(text, ProtocolId.ESP)]


def test_a_healthy_gateway_has_no_finding() -> None:
    assert ids(facts()) == []


def test_what_an_operator_took_down_is_no_fault() -> None:
    assert ids(facts(down(failures.operator("taken down"), state="down"))) == []
    assert ids(facts(down(None, state="trap"))) == []


def test_an_old_failure_of_a_connection_that_is_up_is_no_fault() -> None:
    was = down(failures.psk_mismatch(US, THEM)).last_failure
    assert ids(facts(connected(last_failure=was))) == []


def test_no_common_ike_proposal_shows_the_diff() -> None:
    failure = failures.no_proposal("IKE", ike("aes256gcm16-prfsha384-x25519"), ike("aes128-sha256-modp2048"))
    found = only(facts(down(failure)))
    assert found.id == "no-common-ike-proposal"
    assert "encr: we aes256gcm16; peer aes128: nothing in common" in found.evidence
    assert "ke: we x25519; peer modp2048: nothing in common" in found.evidence
    assert lines(found, "here") == ["xfrmctl: ike: {proposals: [aes128-prfsha256-sha256-modp2048]}"]
    assert lines(found) == [
        "xfrmctl: ike: {proposals: [aes256gcm16-prfsha384-x25519]}",
        "strongSwan: proposals = aes256gcm16-prfsha384-x25519",
        "libreswan: ike=aes_gcm256-sha2_384-dh31",
    ]  # Cisco IOS has no X25519


def test_the_diff_says_what_is_common() -> None:
    failure = failures.no_proposal("ESP", esp("aes256gcm16-ecp256"), esp("aes256gcm16-modp2048"))
    found = only(facts(down(failure)))
    assert found.id == "no-common-esp-proposal"
    assert "encr: we aes256gcm16; peer aes256gcm16: both aes256gcm16" in found.evidence
    assert "strongSwan: esp_proposals = aes256gcm16-ecp256" in lines(found)
    assert "libreswan: esp=aes_gcm256;dh19" in lines(found)
    cisco = (
        "crypto ipsec transform-set T esp-gcm 256\n mode tunnel\ncrypto map M 10 ipsec-isakmp\n set transform-set T\n"
    )
    assert f"Cisco IOS: {cisco} set pfs group19" in lines(found)


@pytest.mark.parametrize(
    ("text", "cisco"),
    [
        ("aes256-sha512-ecp384", "crypto ikev2 proposal P\n encryption aes-cbc-256\n integrity sha512\n group 20"),
        ("aes128gcm16-prfsha256-modp2048", "crypto ikev2 proposal P\n encryption aes-gcm-128\n prf sha256\n group 14"),
    ],
)
def test_cisco_spells_it_otherwise(text: str, cisco: str) -> None:
    found = only(facts(down(failures.peer_refused_proposal("IKE", ike(text)))))
    assert f"Cisco IOS: {cisco}" in lines(found)


def test_a_proposal_without_a_cipher_is_for_ah() -> None:
    failure = failures.peer_refused_proposal("AH", [parse_proposal("sha256", ProtocolId.AH)])
    found = only(facts(down(failure)))
    assert found.id == "no-common-esp-proposal"
    assert "xfrmctl: ah: [sha256]" in lines(found) and "libreswan: phase2=ah\nphase2alg=sha2_256" in lines(found)
    assert vendors.kind_of("encr:99-noesn") is ProtocolId.ESP


def test_selectors_show_what_meets_nothing_and_the_mirror_image() -> None:
    theirs = [HERE, parse_selector("10.9.0.0/24")]
    found = only(facts(down(failures.ts_unacceptable([HERE, THERE], theirs, by_peer=False))))
    assert found.id == "selectors-differ"
    assert "the peer's 10.9.0.0/24: has no packet in common with any of ours" in found.evidence
    assert lines(found)[0] == "xfrmctl: local_ts: [10.1.2.0/24]\nremote_ts: [10.1.1.0/24]"
    acl = "ip access-list extended VPN\n permit ip 10.1.2.0 0.0.0.255 10.1.1.0 0.0.0.255"
    assert f"Cisco IOS: {acl}" in lines(found)


@pytest.mark.parametrize(
    ("theirs", "relation"),
    [
        ("10.1.0.0/16", "wider than our 10.1.1.0/24"),
        ("10.1.1.128/25", "a part of our 10.1.1.0/24"),
        ("10.1.1.200-10.1.1.255", "a part of our 10.1.1.0/24"),
        ("10.1.0.200-10.1.1.9", "overlaps with our 10.1.1.0/24, and neither contains the other"),
    ],
)
def test_selectors_that_nearly_fit(theirs: str, relation: str) -> None:
    failure = failures.ts_unacceptable([HERE, THERE], [parse_selector(theirs), THERE], by_peer=False)
    assert f"the peer's {parse_selector(theirs)}: {relation}" in only(facts(down(failure))).evidence


@pytest.mark.parametrize("failure", [failures.psk_mismatch(US, THEM), failures.peer_rejected_auth(US, THEM)])
def test_a_wrong_key_is_never_shown_but_where_it_stands(failure: Failure) -> None:
    found = only(facts(down(failure)))
    assert found.id == "psk-mismatch" and "pre-shared key" in found.cause
    assert 'libreswan: @sun.example.org @moon.example.org : PSK "THE-SAME-KEY"' in lines(found)
    assert any(line.startswith("Cisco IOS: crypto ikev2 keyring K") for line in lines(found))


def test_another_kind_of_authentication_is_no_wrong_key() -> None:
    assert only(facts(down(failures.wrong_method(AuthMethod.RSA_SIGNATURE, "main")))).id == "authentication-method"


def test_without_keys_a_refusal_is_of_the_certificate() -> None:
    assert ids(
        facts(down(failures.peer_rejected_auth(US, THEM)), connections=(replace(MAIN, auth="certificate"),))
    ) == ["authentication-failed"]


def test_an_identity_of_the_peer_that_we_do_not_expect() -> None:
    other = parse_identity("fqdn:pluto.example.org")
    found = only(facts(down(failures.identity_mismatch([THEM], other, whose="remote"))))
    assert found.id == "identity-mismatch"
    assert lines(found, "here") == ["xfrmctl: remote: {id: fqdn:pluto.example.org}"]
    assert "strongSwan: id = fqdn:sun.example.org" in lines(found)
    assert "libreswan: leftid=@sun.example.org" in lines(found)


def test_an_identity_of_ours_that_the_peer_does_not_expect() -> None:
    other = parse_identity("fqdn:pluto.example.org")
    found = only(facts(down(failures.identity_mismatch([US], other, whose="local"))))
    assert lines(found, "here") == ["xfrmctl: local: {id: fqdn:pluto.example.org}"]
    assert "Cisco IOS: crypto ikev2 profile P\n match identity remote fqdn moon.example.org" in lines(found)


def test_a_clock_that_is_wrong_is_told_from_a_certificate_that_has_expired() -> None:
    plain = Failure(code=FailureCode.CERTIFICATE_EXPIRED, text="it has expired", cause="2026", cure="renew it")
    assert only(facts(down(plain))).id == "certificate-expired"
    clock = replace(plain, cure=certificate_failures._SET_CLOCK)
    found = only(facts(down(clock)))
    assert found.id == "clock-wrong" and lines(found, "here")[0].startswith("shell: timedatectl set-ntp true")


def test_our_own_certificate_explains_the_refusal() -> None:
    old = CertificateFacts(subject="CN=moon", valid_from=0, valid_to=WALL - 86400)
    connection = replace(MAIN, auth="certificate", certificate=old)
    found = facts(down(failures.peer_rejected_auth(US, THEM)), connections=(connection,))
    assert ids(found) == ["own-certificate-expired"]
    early = replace(connection, certificate=replace(old, valid_from=WALL + 60, valid_to=WALL + 120))
    assert ids(facts(connections=(early,))) == ["own-certificate-not-yet-valid"]
    cold = replace(facts(connections=(early,)), wall=86400.0)
    assert ids(cold) == ["clock-wrong"]
    good = replace(connection, certificate=replace(old, valid_to=WALL + 60))
    assert ids(facts(connections=(good,))) == []


def test_peers_that_want_the_same_addresses() -> None:
    taken = failures.selectors_taken(US, THEM, [THERE], [THERE])
    many = (replace(MAIN, remote=None),)
    assert ids(facts(down(taken, state="up", peers=2), connections=many)) == ["selectors-taken"]
    assert ids(facts(down(failures.spi_taken(0x1234), state="up", peers=2), connections=many)) == ["spi-collision"]
    psk = down(failures.psk_mismatch(US, THEM), state="up", peers=2)
    assert ids(facts(psk, connections=many)) == []  # a stranger who does not get in is no fault of the connection


def test_what_the_kernel_does_not_have() -> None:
    found = only(facts(down(failures.kernel_refused(KernelRefusal("install SA", 38, "rfc7539esp: not implemented")))))
    assert found.id == "kernel-refused" and "rfc7539esp" in found.evidence[0]
    assert "xfrmctl: esp: [aes256gcm16]" in lines(found, "here")
    assert "strongSwan: esp_proposals = aes256gcm16" in lines(found)


def test_every_code_has_its_finding_or_is_harmless() -> None:
    silent = {FailureCode.NO_RESPONSE, FailureCode.PEER_DEAD, FailureCode.PATH_LOST}
    for code in FailureCode:
        found = facts(down(Failure(code=code, text="text", cause="cause", cure="cure")))
        harmless = {FailureCode.OPERATOR, FailureCode.REKEYED, FailureCode.PEER_DELETED, FailureCode.PEER_RESTARTED}
        if code == FailureCode.IDENTITY_MISMATCH:
            continue  # has both identities, always
        assert len(ids(found)) == (0 if code in silent | harmless else 1), code


def test_the_child_that_is_up_needs_no_line() -> None:
    second = replace(LAN, name="other", remote_ts=(parse_selector("10.3.0.0/16"),))
    failure = failures.ts_unacceptable([HERE], [], by_peer=True)
    info = down(failure)
    found = only(facts(info, connections=(replace(MAIN, children=(LAN, second)),)))
    assert not any("10.3" in line for line in lines(found))


def test_silence_is_for_others_to_judge() -> None:
    peer = Endpoint(ip_address("172.16.2.1"), 500)
    assert ids(facts(down(failures.no_response(peer, 5, "IKE_SA_INIT")))) == []  # nobody has asked the peer
