"""Choosing proposals and children: tables of offers and what becomes of them (RFC 7296 2.7, 2.9, 3.3)."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.world import child, selectors
from xfrmctl.ike.negotiate import accepted, choose, covered, match, narrow_children
from xfrmctl.model.iana import KeGroup, ProtocolId, TransformType
from xfrmctl.model.selector import TrafficSelector, narrow
from xfrmctl.model.suite import Proposal, SuiteError, Transform, parse_proposal


def ike(*texts: str) -> list[Proposal]:
    return [parse_proposal(t, ProtocolId.IKE) for t in texts]


def esp(*texts: str) -> list[Proposal]:
    return [parse_proposal(t, ProtocolId.ESP) for t in texts]


@pytest.mark.rfc("7296", "2.7")
@pytest.mark.rfc("7296", "3.3")
@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (["aes256gcm16-prfsha384-x25519"], ["aes256gcm16-prfsha384-x25519"], "aes256gcm16-prfsha384-x25519"),
        (["aes256gcm16-prfsha384-x25519"], ["aes128gcm16-prfsha384-x25519"], None),
        (
            ["aes128gcm16-prfsha256-x25519", "aes256gcm16-prfsha384-x25519"],
            ["aes256gcm16-prfsha384-x25519", "aes128gcm16-prfsha256-x25519"],
            "aes128gcm16-prfsha256-x25519",
        ),
        (["aes256-aes128-sha256-modp2048"], ["aes128-sha256-modp2048"], "aes128-sha256-prfsha256-modp2048"),
        (["aes256gcm16-prfsha384-x25519"], ["aes256-sha384-x25519"], None),
        (["aes256-sha256-x25519"], ["aes256-sha512-sha256-prfsha256-x25519"], "aes256-sha256-prfsha256-x25519"),
    ],
)
def test_ike_proposals(ours: list[str], theirs: list[str], expected: str | None) -> None:
    choice = choose(ike(*ours), ike(*theirs))
    assert (str(choice.suite) if choice else None) == expected


@pytest.mark.rfc("7296", "3.3.3")
@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("aes256gcm16", "aes256gcm16", "aes256gcm16-noesn"),
        ("aes256gcm16-esn", "aes256gcm16", None),
        ("aes256gcm16-esn-noesn", "aes256gcm16-noesn-esn", "aes256gcm16-esn"),
        ("aes256gcm16-x25519", "aes256gcm16", None),
        ("aes256gcm16", "aes256gcm16-x25519", None),
        ("aes128-sha256", "aes128-sha256", "aes128-sha256-noesn"),
        ("chacha20poly1305", "aes256gcm16-chacha20poly1305", "chacha20poly1305-noesn"),
    ],
)
def test_esp_proposals(ours: str, theirs: str, expected: str | None) -> None:
    choice = choose(esp(ours), esp(theirs))
    assert (str(choice.suite) if choice else None) == expected


def test_among_methods_both_accept_the_one_whose_payload_is_here_wins() -> None:
    both = ike("aes256gcm16-prfsha384-x25519-ecp256")
    found = choose(both, both, KeGroup.ECP_256)
    assert found is not None
    assert found.suite.ke == KeGroup.ECP_256


@pytest.mark.rfc("7296", "3.3.6")
def test_a_transform_that_is_not_understood_is_never_chosen() -> None:
    good = esp("aes256gcm16")[0]
    spoilt = Proposal(
        ProtocolId.ESP,
        tuple(Transform(t.type, t.id, t.key_bits, malformed=t.type == TransformType.ENCR) for t in good.transforms),
    )
    assert match(good, spoilt) is None
    stranger = Proposal(ProtocolId.ESP, (*good.transforms, Transform(TransformType(9), 1)))
    assert match(good, stranger) is None


@pytest.mark.rfc("7296", "2.7")
def test_an_answer_has_one_proposal_and_one_transform_of_each_type() -> None:
    ours = esp("aes256gcm16-aes128gcm16")
    assert accepted(ours, esp("aes128gcm16")) is not None
    assert accepted(ours, esp("aes256gcm16-aes128gcm16")) is None
    assert accepted(ours, esp("aes128gcm16", "aes256gcm16")) is None
    assert accepted(ours, []) is None


@pytest.mark.rfc("7296", "2.9")
def test_the_child_that_keeps_all_its_selectors_is_preferred() -> None:
    part, whole = child("part", "10.1.0.0/16", "10.2.0.0/16"), child("whole", "10.1.1.0/24", "10.2.0.0/16")
    found = narrow_children([part, whole], selectors("10.2.0.0/16"), selectors("10.1.1.0/24"))
    assert [n.child.name for n in found] == ["whole", "part"]


_base = IPv4Address("10.0.0.0")
addresses = st.integers(0, 255)
ranges = st.tuples(addresses, addresses, st.sampled_from([0, 6, 17]), addresses, addresses).map(
    lambda t: TrafficSelector(_base + min(t[:2]), _base + max(t[:2]), t[2], min(t[3:]), max(t[3:]))
)


@given(st.lists(ranges, max_size=4), st.lists(ranges, max_size=4))
def test_narrowing_never_widens_either_side(offered: list[TrafficSelector], allowed: list[TrafficSelector]) -> None:
    found = narrow(offered, allowed)
    assert covered(found, offered)
    assert covered(found, allowed)
    for theirs in offered:
        for ours in allowed:
            common = theirs.intersect(ours)
            assert common is None or covered([common], found), "nothing that both allow is lost"


@pytest.mark.rfc("7296", "3.3.4")
@pytest.mark.parametrize(
    ("text", "protocol", "complaint"),
    [
        ("aes256gcm17-prfsha384-x25519", ProtocolId.IKE, "did you mean 'aes256gcm16'"),
        ("aes256gcm16-x25519", ProtocolId.IKE, "no PRF"),
        ("aes256gcm16-prfsha384", ProtocolId.IKE, "no key exchange"),
        ("aes256-x25519", ProtocolId.IKE, "needs an integrity"),
        ("aes256gcm16-sha256", ProtocolId.ESP, "takes no integrity"),
        ("aes256gcm16-aes256-sha256", ProtocolId.ESP, "mixes AEAD"),
        ("aes256gcm16-prfsha256", ProtocolId.ESP, "names a PRF"),
        ("aes256gcm16-prfsha256-x25519-esn", ProtocolId.IKE, "belong into esp"),
        ("x25519", ProtocolId.ESP, "no cipher"),
    ],
)
def test_misspelt_proposals_say_what_is_wrong(text: str, protocol: ProtocolId, complaint: str) -> None:
    with pytest.raises(SuiteError, match=complaint):
        parse_proposal(text, protocol)
