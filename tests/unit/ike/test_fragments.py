"""Cutting and reassembly (RFC 7383 2.5, 2.6): whatever order, loss and repetition, the message comes out or nothing."""

import tracemalloc
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.crypto.protect import Protection
from xfrmctl.ike import fragments
from xfrmctl.ike.fragments import MAX_FRAGMENTS, MAX_HELD, MAX_MESSAGE, OVERHEAD, Reassembly, Whole
from xfrmctl.model.iana import Encr, ExchangeType, Integ, KeGroup, Prf, ProtocolId
from xfrmctl.model.suite import Suite
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import Fragment, parse

ENTROPY = DeterministicEntropy(b"fragments")
HEADER = Header(b"initiat.", b"respond.", 46, ExchangeType.IKE_AUTH, True, False, 1, 500)
RESPONSE = replace(HEADER, is_initiator=False, is_response=True)


def protection(encr: Encr, bits: int, integ: Integ | None = None) -> Protection:
    suite = Suite(ProtocolId.IKE, encr, bits, integ, Prf.HMAC_SHA2_256, KeGroup.X25519)
    return Protection(
        suite, bytes(bits // 8 + suite.encr_facts.salt), bytes(suite.integ_facts.key if suite.integ_facts else 0)
    )


SUITES = [
    (Encr.AES_GCM_16, 256, None),
    (Encr.CHACHA20_POLY1305, 256, None),
    (Encr.AES_CBC, 256, Integ.HMAC_SHA2_512_256),
    (Encr.AES_CBC, 128, Integ.HMAC_SHA2_256_128),
]
suites = st.sampled_from(SUITES)


def offer(
    store: Reassembly, number: int, total: int, text: bytes, *, header: Header = HEADER, serial: int = 1, first: int = 0
) -> Whole | str | None:
    """What an inbox does with an authentic fragment."""
    fragment = Fragment(number, total)
    refusal = store.refusal(serial, header, fragment)
    return refusal if refusal is not None else store.add(serial, header, fragment, first, text)


@pytest.mark.rfc("7383", "2.5")
@given(suites, st.integers(0, 5000), st.integers(500, 1500))
def test_every_piece_fits_and_no_piece_could_be_spared(
    suite: tuple[Encr, int, Integ | None], size: int, room: int
) -> None:
    guard, plaintext = protection(*suite), bytes(size)
    cut = fragments.seal(guard, HEADER, 35, plaintext, room, ENTROPY)
    assert all(len(d) <= room for d in cut)
    opened = []
    for number, datagram in enumerate(cut, 1):
        message = parse(datagram)
        assert message.sk is not None
        assert message.sk.fragment == (Fragment(number, len(cut)) if len(cut) > 1 else None)
        assert message.sk.first == (35 if number == 1 else 0)
        opened.append(guard.open(datagram, message.sk.offset))
    assert b"".join(opened) == plaintext
    assert all(opened) or not plaintext
    if len(cut) > 1:
        assert size > guard.capacity(room)
        assert len({len(o) for o in opened[:-1]}) == 1
        # one octet more in each would not have fitted
        fuller = guard.seal(HEADER.encode(0), 0, opened[0] + b"x", ENTROPY, Fragment(1, 2).encode())
        assert len(fuller) > room


@pytest.mark.rfc("7383", "2.5")
@pytest.mark.rfc("7383", "2.6")
@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_number_and_total_are_covered_by_the_integrity_check(suite: tuple[Encr, int, Integ | None]) -> None:
    from xfrmctl.crypto.protect import IntegrityError  # noqa: PLC0415

    guard = protection(*suite)
    (first, *_) = fragments.seal(guard, HEADER, 35, bytes(2000), 600, ENTROPY)
    for at in range(len(first)):
        forged = first[:at] + bytes((first[at] ^ 1 << at % 8,)) + first[at + 1 :]
        with pytest.raises(IntegrityError):
            guard.open(forged, 36)


@pytest.mark.rfc("7383", "2.6")
@pytest.mark.rfc("7383", "2.6.1")
@given(
    st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
    st.sets(st.integers(0, 11)),
    st.integers(1, 3),
)
def test_any_order_repetition_and_loss(parts: list[bytes], random: Random, lost: set[int], copies: int) -> None:
    store = Reassembly()
    total = len(parts)
    stream = [n for n in range(total) if n not in lost] * copies
    random.shuffle(stream)
    wholes, seen = [], set[int]()
    for n in stream:
        outcome = offer(store, n + 1, total, parts[n], first=35 if n == 0 else 99)
        if isinstance(outcome, Whole):
            wholes.append(outcome)
            break  # the window of message ids has moved on
        assert outcome == ("fragment_repeated" if n in seen else None)
        seen.add(n)
    if lost & set(range(total)):
        assert not wholes
    else:
        assert wholes == [Whole(35, b"".join(parts), 500 * total, total)]
        assert store.held == len(store) == 0
    store.forget_all(1)
    assert store.held == len(store) == 0


@pytest.mark.rfc("7383", "2.6")
@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.booleans(),
            st.integers(1, 2),
            st.integers(1, 6),
            st.integers(1, 6),
            st.binary(max_size=4),
        ),
        max_size=60,
    )
)
def test_hostile_sequences_never_break_the_books(steps: list[tuple[int, bool, int, int, int, bytes]]) -> None:
    store = Reassembly()
    for serial, response, message_id, number, total, text in steps:
        if number <= total:
            header = replace(RESPONSE if response else HEADER, message_id=message_id)
            outcome = offer(store, number, total, text, header=header, serial=serial)
            assert not isinstance(outcome, Whole) or outcome.fragments == total
        assert store.held == sum(a.held for a in store._assemblies.values())
        assert len(store) <= 6
    for serial in (1, 2, 3):
        store.forget_all(serial)
    assert store.held == 0


@pytest.mark.rfc("7383", "2.6")
@pytest.mark.rfc("7383", "2.5.2")
def test_a_larger_total_begins_anew_and_a_smaller_one_is_ignored() -> None:
    store = Reassembly()
    assert offer(store, 1, 2, b"old") is None
    assert offer(store, 2, 3, b"b") is None
    assert offer(store, 2, 2, b"old") == "fragment_mismatch"
    assert offer(store, 1, 3, b"a", first=33) is None
    assert offer(store, 3, 3, b"c") == Whole(33, b"abc", 1500, 3)


@pytest.mark.rfc("7383", "2.6")
@pytest.mark.rfc("7383", "2.5")
@pytest.mark.rfc("7383", "2.6.1")
def test_fragments_of_different_messages_do_not_mix() -> None:
    store = Reassembly()
    assert offer(store, 1, 2, b"one") is None
    assert offer(store, 2, 2, b"two", header=RESPONSE) is None
    assert offer(store, 2, 2, b"two", serial=2) is None
    assert (
        offer(store, 2, 2, b"two", header=replace(HEADER, exchange=ExchangeType.INFORMATIONAL)) == "fragment_mismatch"
    )
    assert len(store) == 3
    # a new message id takes the old one's place
    assert offer(store, 2, 2, b"new", header=replace(HEADER, message_id=2)) is None
    assert len(store) == 3
    whole = offer(store, 1, 2, b"brand ", header=replace(HEADER, message_id=2), first=41)
    assert whole == Whole(41, b"brand new", 1000, 2)


def test_a_message_may_be_large_but_not_too_large() -> None:
    store = Reassembly()
    assert offer(store, 1, MAX_FRAGMENTS + 1, b"") == "too_many_fragments"
    assert offer(store, 65535, 65535, b"") == "too_many_fragments"
    for number in (1, 2, 3):
        assert offer(store, number, 4, bytes(MAX_MESSAGE // 4)) is None
    assert offer(store, 4, 4, bytes(MAX_MESSAGE // 4 + 1)) == "message_too_large"
    assert store.held == 0
    for number in (1, 2, 3):
        assert offer(store, number, 4, bytes(MAX_MESSAGE // 4)) is None
    assert isinstance(offer(store, 4, 4, bytes(MAX_MESSAGE // 4)), Whole)


def test_floods_in_many_ike_sas_stay_within_the_bound() -> None:
    """2,000 peers with all but the last fragment of the largest message; honest ones in between get through."""
    store = Reassembly()
    tracemalloc.start()
    evicted = 0
    for serial in range(2000):
        for number in range(1, MAX_FRAGMENTS):
            offer(store, number, MAX_FRAGMENTS, bytes(MAX_MESSAGE // MAX_FRAGMENTS), serial=serial)
            evicted += len(store.evict())
            assert store.held <= MAX_HELD
        if serial % 100 == 0:
            assert offer(store, 1, 2, b"hello ", serial=100_000 + serial, first=35) is None
            assert isinstance(offer(store, 2, 2, b"world", serial=100_000 + serial), Whole)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert evicted + len(store) == 2000
    assert kept < 1.1 * MAX_HELD


def test_empty_fragments_are_counted_too() -> None:
    store = Reassembly()
    tracemalloc.start()
    for serial in range(1500):
        for number in range(1, MAX_FRAGMENTS):
            offer(store, number, MAX_FRAGMENTS, b"", serial=serial)
        store.evict()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert store.held <= MAX_HELD
    assert kept <= MAX_HELD + (1 << 20)
    assert store.held >= len(store) * OVERHEAD * MAX_FRAGMENTS


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_packet_sizes(address: str) -> None:
    from ipaddress import ip_address  # noqa: PLC0415

    from xfrmctl.model.address import Endpoint  # noqa: PLC0415

    header = 28 if "." in address else 48
    assert fragments.packet_size(Endpoint(ip_address(address), 500), 1000, 4500) == header + 1000
    assert fragments.packet_size(Endpoint(ip_address(address), 4500), 1000, 4500) == header + 1004
