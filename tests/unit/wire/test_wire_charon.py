"""IKE_SA_INIT messages of a real charon (``tests/golden/make_charon.py``): read, checked, understood.

That each is written back to the same octets is a test of every golden file (``test_wire_golden``).
"""

from ipaddress import ip_address
from pathlib import Path

import pytest

from xfrmctl.config.schema import IKE_PROPOSALS
from xfrmctl.ike import natd
from xfrmctl.ike.negotiate import accepted, choose
from xfrmctl.model.address import Endpoint
from xfrmctl.model.iana import ExchangeType, KeGroup, NotifyType, ProtocolId
from xfrmctl.model.suite import Transform, parse_proposal
from xfrmctl.wire.cardinality import check
from xfrmctl.wire.message import Message, first_of, notify_of, parse
from xfrmctl.wire.payloads import KeyExchange, Sa

GOLDEN = Path(__file__).parents[2] / "golden"
US, CHARON = Endpoint(ip_address("172.16.1.1"), 500), Endpoint(ip_address("172.16.2.1"), 500)

NATD = ["N(NAT_DETECTION_SOURCE_IP)", "N(NAT_DETECTION_DESTINATION_IP)"]
OFFER = ["SA", "KE", "No", *NATD, "N(IKEV2_FRAGMENTATION_SUPPORTED)", "N(SIGNATURE_HASH_ALGORITHMS)"]
OFFER += ["N(REDIRECT_SUPPORTED)"]
PAYLOADS = {
    "request": OFFER,
    "request_with_cookie": ["N(COOKIE)", *OFFER],
    "request_other_ke": ["N(COOKIE)", *OFFER],
    "response": [*OFFER[:6], "N(CHILDLESS_IKEV2_SUPPORTED)", "N(MULTIPLE_AUTH_SUPPORTED)"],
    "cookie": ["N(COOKIE)"],
    "invalid_ke": ["N(INVALID_KE_PAYLOAD)"],
    "no_proposal": ["N(NO_PROPOSAL_CHOSEN)"],
}


def load(name: str) -> Message:
    lines = (GOLDEN / f"charon_{name}.hex").read_text().splitlines()
    return parse(bytes.fromhex("".join(line for line in lines if not line.startswith("#"))))


@pytest.mark.parametrize("name", PAYLOADS)
def test_every_payload_is_known_and_in_its_place(name: str) -> None:
    message = load(name)
    assert [payload.name for payload in message.payloads] == PAYLOADS[name]
    assert message.header.exchange == ExchangeType.IKE_SA_INIT
    assert message.header.is_response is not name.startswith("request")
    check(message.header.exchange, message.header.is_response, message.payloads)


@pytest.mark.rfc("7296", "2.23")
@pytest.mark.parametrize("name", ["request", "response"])
def test_no_nat_is_seen_where_none_was_and_one_where_an_address_differs(name: str) -> None:
    message = load(name)
    spis = message.header.spi_i, message.header.spi_r
    assert natd.detect(message.payloads, *spis, US, CHARON) == (False, False)
    elsewhere = Endpoint(ip_address("192.168.9.1"), 500)
    assert natd.detect(message.payloads, *spis, elsewhere, CHARON) == (True, False)
    assert natd.detect(message.payloads, *spis, US, Endpoint(CHARON.address, 32000)) == (False, True)


def test_our_defaults_meet_charons() -> None:
    offer, ke = first_of(load("request").payloads, Sa), first_of(load("request").payloads, KeyExchange)
    assert offer is not None and ke is not None
    choice = choose(IKE_PROPOSALS, offer.proposals, ke.group)
    assert choice is not None
    assert choice.suite.ke == ke.group, "a round trip is saved where the KE payload is one that we take"
    assert str(choice.suite).startswith("aes256gcm16-")


def test_the_answer_is_one_of_what_was_offered() -> None:
    answer = first_of(load("response").payloads, Sa)
    assert answer is not None
    ours = [parse_proposal("aes128gcm16-prfsha256-x25519", ProtocolId.IKE)]
    choice = accepted(ours, answer.proposals)
    assert choice is not None
    assert str(choice.suite) == "aes128gcm16-prfsha256-x25519"


def offered(message: Message) -> list[set[Transform]]:
    sa = first_of(message.payloads, Sa)
    assert sa is not None
    return [set(proposal.transforms) for proposal in sa.proposals]


@pytest.mark.rfc("7296", "2.6.1")
def test_the_cookie_comes_back_with_the_rest_unchanged() -> None:
    """Also after INVALID_KE_PAYLOAD: the cookie stays, and SA but for its order; KE is what was wanted."""
    first, again, other = (load(name) for name in ("request", "request_with_cookie", "request_other_ke"))
    cookie = notify_of(again.payloads, NotifyType.COOKIE)
    assert cookie is not None and cookie.data == bytes(range(32))
    assert again.payloads[1:] == first.payloads
    assert other.payloads[0] == again.payloads[0]
    assert offered(other) == offered(first)
    wanted, was = first_of(other.payloads, KeyExchange), first_of(first.payloads, KeyExchange)
    assert wanted is not None and was is not None
    assert (was.group, wanted.group) == (KeGroup.X25519, KeGroup.ECP_384)


def test_the_wanted_method_is_named() -> None:
    notify = notify_of(load("invalid_ke").payloads, NotifyType.INVALID_KE_PAYLOAD)
    assert notify is not None and notify.data == int(KeGroup.ECP_256).to_bytes(2, "big")
